"""Jobs over links on a virtual clock: dispatch, decline, failure, result, cancel."""

from __future__ import annotations

import pytest
import trio
from scripted import MemoryGateway
from scripted_node import CAPABILITIES, Operator
from trio.testing import MockClock

from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.needs import Need
from edgeagent.wire.messages import (
    Drain,
    Heartbeat,
    JobAccept,
    JobCancel,
    JobDecline,
    JobDispatch,
    JobProgress,
    Outcome,
    Output,
)

DAY_S = 24 * 3600.0


async def test_a_draining_node_gets_no_more_work(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """But what it has is finished and credited."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready(slots=2)
        await memory_gateway.submit(account)
        dispatch = await node.accept()
        await node.say(Drain(reason="update"))
        await trio.testing.wait_all_tasks_blocked()
        waiting = await memory_gateway.submit(account)
        await node.beat_after(15.0)
        assert (await memory_gateway.job(account, waiting)).state is JobState.QUEUED
        assert (await node.finish(dispatch)).credited_ucr == 10_000_000


async def test_a_job_is_dispatched_accepted_and_credited(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """The whole way, with progress in between."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        job = await memory_gateway.submit(account, payload={"scene": "cube"})
        dispatch = await node.hear(JobDispatch)
        assert (dispatch.job_id, dispatch.payload, dispatch.price_ucr) == (job, {"scene": "cube"}, 10_000_000)
        assert (await memory_gateway.job(account, job)).state is JobState.DISPATCHED
        await node.say(JobProgress(attempt_id=dispatch.attempt_id, fraction=0.5, text="half"))
        await trio.testing.wait_all_tasks_blocked()
        assert memory_gateway.hub.network.progress[dispatch.attempt_id].fraction == 0.5
        ack = await node.finish(dispatch, value={"pixels": 3})
        assert (ack.attempt_id, ack.credited_ucr, ack.unpaid) == (dispatch.attempt_id, 10_000_000, "")
        done = await memory_gateway.job(account, job)
        assert (done.state, done.credited_ucr, done.progress_text) == (JobState.COMPLETED, 10_000_000, "half")
        assert memory_gateway.hub.network.progress == {}


async def test_a_node_never_gets_more_than_its_slots(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """The third of three jobs waits until one of two slots is free."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready(slots=2)
        for _ in range(3):
            await memory_gateway.submit(account)
        first, second = await node.accept(), await node.accept()
        await node.beat(first.attempt_id, second.attempt_id, free_slots=0)
        await trio.sleep(10)
        assert not memory_gateway.hub.network.pool.can(Need("render"))
        await node.finish(first)
        assert (await node.hear(JobDispatch)).job_id not in {first.job_id, second.job_id}


async def test_slots_that_the_node_uses_itself_are_not_given_away(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """A heartbeat with fewer free slots than running attempts explain is believed."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready(slots=2)
        await node.beat(free_slots=0)
        job = await memory_gateway.submit(account)
        await trio.sleep(10)
        assert (await memory_gateway.job(account, job)).state is JobState.QUEUED
        await node.say(Heartbeat(seq=2, load=0.0, free_slots=1))
        await node.accept()


async def test_a_declined_job_goes_elsewhere(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """After a second, to the node that did not decline it, and no retry is taken."""
    first, second = await memory_gateway.enlist("a"), await memory_gateway.enlist("b")
    account = await memory_gateway.account()
    async with memory_gateway.as_node(first) as one:
        await one.ready()
        job = await memory_gateway.submit(account)
        dispatch = await one.hear(JobDispatch)
        async with memory_gateway.as_node(second) as other:
            await other.ready()
            started = trio.current_time()
            await one.say(JobDecline(attempt_id=dispatch.attempt_id, reason="no plugin"))
            again = await other.hear(JobDispatch)
            assert again.job_id == job
            assert trio.current_time() - started == pytest.approx(1.0, abs=0.1)
            attempts = (await memory_gateway.job(account, job)).attempts
            assert [(one.state, one.detail) for one in attempts] == [
                ("DECLINED", "declined: no plugin"),
                ("DISPATCHED", ""),
            ]


async def test_a_job_that_is_declined_again_and_again_is_offered_ever_less_often(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """What rests is not woken by other looks at the queue meanwhile."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node, trio.open_nursery() as nursery:
        await node.ready()
        nursery.start_soon(node.beat_for_ever)
        await memory_gateway.submit(account)
        rests, declined = [], trio.current_time()
        for _ in range(9):
            dispatch = await node.hear(JobDispatch)
            rests.append(trio.current_time() - declined)
            declined = trio.current_time()
            await node.say(JobDecline(attempt_id=dispatch.attempt_id, reason="not now"))
        nursery.cancel_scope.cancel()

    assert rests == pytest.approx([0, 1, 1, 1, 1, 2, 4, 8, 16], abs=0.1)


async def test_a_failed_job_is_retried_three_times_and_then_failed(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """After 1, 2 and 4 s; the job says why, and the price goes back."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account(grant_ucr=10_000_000)
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        job = await memory_gateway.submit(account)
        waits = []
        for _ in range(4):
            started = trio.current_time()
            # The third failure benches the node until its next heartbeat.
            await node.say(Heartbeat(seq=1, load=0.0, free_slots=1))
            dispatch = await node.accept()
            waits.append(trio.current_time() - started)
            await node.finish(dispatch, Outcome.EXITED, detail="exit status 3")
        assert waits == pytest.approx([0, 1, 2, 4], abs=0.1)
        failed = await memory_gateway.job(account, job)
        assert (failed.state, failed.error) == (JobState.FAILED, "exited: exit status 3")
        assert len(failed.attempts) == 4
        await memory_gateway.submit(account)  # the credits are there again


async def test_a_retry_goes_to_another_node_first(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Although the one that failed is idle, and the other one nearly busy."""
    first, second = await memory_gateway.enlist("a"), await memory_gateway.enlist("b")
    account = await memory_gateway.account()
    async with memory_gateway.as_node(first) as one, memory_gateway.as_node(second) as other:
        await one.ready(slots=4)
        job = await memory_gateway.submit(account)
        dispatch = await one.accept()
        await other.ready(slots=1)
        await other.beat(load=0.9)
        await one.finish(dispatch, Outcome.FAILED, detail="no")
        assert (await other.accept()).job_id == job


async def test_outputs_that_did_not_arrive_fail_the_attempt(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """A result must not promise files that nobody has."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        job = await memory_gateway.submit(account)
        listed = Output(name="image.png", size_bytes=3, sha256="0" * 64)
        assert (await node.finish(await node.accept(), outputs=(listed,))).credited_ucr == 0
    attempt = (await memory_gateway.job(account, job)).attempts[0]
    assert (attempt.outcome, attempt.detail) == ("setup_failed", "outputs missing: image.png")


async def test_a_value_over_the_limit_fails_the_attempt(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """256 KiB of JSON; larger things are files."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        job = await memory_gateway.submit(account)
        assert (await node.finish(await node.accept(), value="x" * (256 << 10))).credited_ucr == 0
    attempt = (await memory_gateway.job(account, job)).attempts[0]
    assert attempt.outcome == "failed"
    assert "256 KiB" in attempt.detail


async def test_cancel_reaches_a_running_attempt(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """At once; the slot is free when the node says that it has stopped."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account(grant_ucr=10_000_000)
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        job = await memory_gateway.submit(account)
        dispatch = await node.accept()
        await node.beat(dispatch.attempt_id, free_slots=0)
        started = trio.current_time()
        assert await memory_gateway.hub.cancel(job, account)
        assert (await node.hear(JobCancel)).attempt_id == dispatch.attempt_id
        assert trio.current_time() - started < 1
        waiting = await memory_gateway.submit(account)  # the price came back
        await trio.sleep(10)
        assert (await memory_gateway.job(account, waiting)).state is JobState.QUEUED
        assert (await node.finish(dispatch, Outcome.CANCELLED)).credited_ucr == 0
        assert (await node.hear(JobDispatch)).job_id == waiting
        assert (await memory_gateway.job(account, job)).state is JobState.CANCELLED


async def test_accepting_what_is_not_wanted_any_more_is_answered_with_a_cancel(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """The job was cancelled while the dispatch was on its way."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        job = await memory_gateway.submit(account)
        dispatch = await node.hear(JobDispatch)
        await memory_gateway.hub.cancel(job, account)
        await node.hear(JobCancel)
        await node.say(JobAccept(attempt_id=dispatch.attempt_id))
        assert (await node.hear(JobCancel)).attempt_id == dispatch.attempt_id


async def test_equal_idle_nodes_share_the_work(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Four of them, 100 jobs one after the other: 25 each."""
    operators = [await memory_gateway.enlist(name) for name in "abcd"]
    account = await memory_gateway.account(grant_ucr=0)
    done, who = trio.open_memory_channel[str](100)
    async with trio.open_nursery() as nursery:
        for operator in operators:
            await nursery.start(work, memory_gateway, operator, done)
        taken = []
        for _ in range(100):
            await memory_gateway.submit(account, "echo")
            taken.append(await who.receive())
        nursery.cancel_scope.cancel()
    assert {taken.count(operator.node_id) for operator in operators} == {25}


async def work(
    gateway: MemoryGateway, operator: Operator, done: trio.MemorySendChannel[str], *, task_status: trio.TaskStatus[None]
) -> None:
    async with gateway.as_node(operator) as node, trio.open_nursery() as nursery:
        await node.ready(slots=2)
        nursery.start_soon(node.beat_for_ever, 2)
        task_status.started()
        while True:
            await node.finish(await node.accept())
            await done.send(operator.node_id)


async def test_what_a_node_can_do_is_what_its_link_says(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """A plugin added after registration is a capability with the next link, and a job type from then on."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready(capabilities=(*CAPABILITIES, "new"))
        await memory_gateway.submit(account, "new")
        assert (await node.hear(JobDispatch)).job_type == "new"

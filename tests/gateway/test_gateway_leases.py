"""What survives on a virtual clock: lost links, ended leases, late and repeated results, restarts."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from scripted import MemoryGateway, in_memory
from scripted_node import Node, Operator
from trio.testing import MockClock

from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.store import nodes
from edgeagent.gateway.store.engine import open_engine
from edgeagent.wire.messages import (
    Heartbeat,
    JobAccept,
    JobCancel,
    JobDispatch,
    NodeState,
)


@pytest.fixture
async def operator(memory_gateway: MemoryGateway) -> Operator:
    """A registered node."""
    return await memory_gateway.enlist()


@pytest.fixture
async def account(memory_gateway: MemoryGateway) -> str:
    """A submitter's account, by its id."""
    return await memory_gateway.account()


async def test_a_lease_that_is_not_renewed_ends(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """The node beats but does not list the attempt: after 60 s the job is requeued, and the node told to stop."""
    async with memory_gateway.at_work(operator) as node:
        job = await memory_gateway.submit(account)
        lost = await node.accept()
        started = trio.current_time()
        for _ in range(4):
            await trio.sleep(15)
            await node.say(Heartbeat(seq=1, load=0.0, free_slots=1))
        assert (await node.hear(JobCancel)).attempt_id == lost.attempt_id
        assert trio.current_time() - started == pytest.approx(60, abs=1.1)
        again = await next_dispatch(node)
        assert (again.job_id, again.attempt_id != lost.attempt_id) == (job, True)


async def next_dispatch(node: Node) -> JobDispatch:
    """Beat until work comes, for ten minutes at most."""
    for _ in range(120):
        await node.say(Heartbeat(seq=1, load=0.0, free_slots=1))
        with trio.move_on_after(5):
            return await node.hear(JobDispatch)
    pytest.fail("no work came")


async def test_heartbeats_that_list_an_attempt_keep_its_lease(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """For ten minutes, and then it is finished and paid."""
    async with memory_gateway.at_work(operator) as node:
        await memory_gateway.submit(account)
        dispatch = await node.accept()
        for _ in range(40):
            await trio.sleep(15)
            await node.beat(dispatch.attempt_id, free_slots=0)
        assert (await node.finish(dispatch)).credited_ucr == 10_000_000


async def test_nobody_renews_the_lease_of_another_nodes_attempt(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, account: str
) -> None:
    """Whoever lists it in its heartbeats is told to stop it, and it is lost when its own node stays silent."""
    first, second = await memory_gateway.enlist("a"), await memory_gateway.enlist("b")
    async with memory_gateway.at_work(first) as node:
        job = await memory_gateway.submit(account)
        lost = await node.accept()
    async with memory_gateway.as_node(second) as thief:
        await thief.greet()
        for _ in range(5):
            await thief.say(Heartbeat(seq=1, load=0.0, free_slots=0, running=(lost.attempt_id,)))
            assert (await thief.hear(JobCancel)).attempt_id == lost.attempt_id
            await trio.sleep(15)
        assert (await memory_gateway.job(account, job)).attempts[0].state == "LOST"


async def test_a_node_that_vanishes_loses_its_job_to_another(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, account: str
) -> None:
    """When its lease has ended; what it finished nevertheless comes too late and is paid nothing."""
    first, second = await memory_gateway.enlist("a"), await memory_gateway.enlist("b")
    async with memory_gateway.at_work(first) as node:
        job = await memory_gateway.submit(account)
        lost = await node.accept()
    async with memory_gateway.at_work(second) as other:
        for _ in range(4):
            await trio.sleep(15)
            await other.say(Heartbeat(seq=1, load=0.0, free_slots=1))
        again = await other.accept()
        assert again.job_id == job
        assert (await other.finish(again)).credited_ucr == 10_000_000
    async with memory_gateway.as_node(first) as node:
        assert (await node.greet(held=(lost.attempt_id,))).drop == (lost.attempt_id,)
        assert (await node.finish(lost)).credited_ucr == 0
    assert (await memory_gateway.job(account, job)).credited_ucr == 10_000_000


async def test_a_late_result_of_an_open_job_counts_and_stops_the_other(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, account: str
) -> None:
    """The first valid result wins, wherever it comes from."""
    first, second = await memory_gateway.enlist("a"), await memory_gateway.enlist("b")
    async with memory_gateway.at_work(first) as node:
        job = await memory_gateway.submit(account)
        late = await node.accept()
    async with memory_gateway.at_work(second) as other:
        for _ in range(4):
            await trio.sleep(15)
            await other.say(Heartbeat(seq=1, load=0.0, free_slots=1))
        again = await other.accept()
        async with memory_gateway.as_node(first) as node:
            await node.greet(held=(late.attempt_id,))
            assert (await node.finish(late)).credited_ucr == 10_000_000
        assert (await other.hear(JobCancel)).attempt_id == again.attempt_id
        assert (await other.finish(again)).credited_ucr == 0
    done = await memory_gateway.job(account, job)
    assert (done.state, done.credited_ucr, done.current_attempt) == (
        JobState.COMPLETED,
        10_000_000,
        late.attempt_id,
    )


async def test_a_reconnect_keeps_what_the_node_still_has(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """The attempt goes on, its lease is fresh, and it is paid."""
    async with memory_gateway.at_work(operator) as node:
        await memory_gateway.submit(account)
        dispatch = await node.accept()
    await trio.sleep(50)
    async with memory_gateway.as_node(operator) as node:
        assert (await node.greet(held=(dispatch.attempt_id, "stranger"))).keep == (dispatch.attempt_id,)
        await trio.sleep(40)
        assert (await node.finish(dispatch)).credited_ucr == 10_000_000


async def test_an_acceptance_that_was_lost_with_the_link_is_made_up_for(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """A node that holds the attempt has started it."""
    async with memory_gateway.at_work(operator) as node:
        job = await memory_gateway.submit(account)
        dispatch = await node.hear(JobDispatch)
    async with memory_gateway.as_node(operator) as node:
        await node.greet(held=(dispatch.attempt_id,))
        assert (await memory_gateway.job(account, job)).state is JobState.RUNNING


async def test_an_acceptance_that_is_repeated_stops_nothing(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """The greeting of a new link stands for the acceptance that was lost, and that may come after it all the same."""
    async with memory_gateway.at_work(operator) as node:
        await memory_gateway.submit(account)
        dispatch = await node.accept()
        await node.say(JobAccept(attempt_id=dispatch.attempt_id))
        await node.beat(dispatch.attempt_id, free_slots=0)
        assert (await node.finish(dispatch)).credited_ucr == 10_000_000


async def test_a_dispatch_that_did_not_arrive_is_made_again_at_once(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """The node comes back without it: nobody waits for a lease, and no retry is taken."""
    async with memory_gateway.at_work(operator) as node:
        job = await memory_gateway.submit(account)
        await node.hear(JobDispatch)
    async with memory_gateway.as_node(operator) as node:
        started = trio.current_time()
        await node.ready()
        assert (await node.hear(JobDispatch)).job_id == job
        assert trio.current_time() - started < 2
    states = [one.state for one in (await memory_gateway.job(account, job)).attempts]
    assert states[0] == "DECLINED"


async def test_an_attempt_that_a_node_forgot_is_lost_at_once(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """A node that restarted says so by not holding it."""
    async with memory_gateway.at_work(operator) as node:
        job = await memory_gateway.submit(account)
        await node.accept()
        await node.beat()
    async with memory_gateway.at_work(operator) as node:
        assert (await node.hear(JobDispatch)).job_id == job
    first = (await memory_gateway.job(account, job)).attempts[0]
    assert (first.state, first.outcome, first.detail) == ("LOST", "lost", "the node came back without it")


async def test_a_result_that_is_repeated_is_answered_the_same(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """Its acknowledgement was lost: the second one says the same credits, which are paid once."""
    async with memory_gateway.at_work(operator) as node:
        await memory_gateway.submit(account)
        dispatch = await node.accept()
        assert (await node.finish(dispatch)).credited_ucr == 10_000_000
    async with memory_gateway.as_node(operator) as node:
        assert (await node.greet(held=(dispatch.attempt_id,))).drop == (dispatch.attempt_id,)
        assert (await node.finish(dispatch)).credited_ucr == 10_000_000
    assert await balance(memory_gateway, operator) == 10_000_000


async def balance(gateway: MemoryGateway, operator: Operator) -> int:
    return (await gateway.hub.store.read(nodes.profile, operator.node_id)).balance_ucr


async def test_a_result_of_what_the_node_never_had_is_acknowledged_and_pays_nothing(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, account: str
) -> None:
    """So that it is forgotten; another node's attempt is none of its business."""
    first, second = await memory_gateway.enlist("a"), await memory_gateway.enlist("b")
    async with memory_gateway.as_node(first) as node, memory_gateway.as_node(second) as thief:
        await node.ready()
        job = await memory_gateway.submit(account)
        dispatch = await node.accept()
        await thief.ready()
        assert (await thief.finish(dispatch)).credited_ucr == 0
        assert (await memory_gateway.job(account, job)).state is JobState.RUNNING
        assert (await node.finish(dispatch)).credited_ucr == 10_000_000


async def test_a_cancel_that_was_lost_is_repeated(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """With every heartbeat that still lists the attempt."""
    async with memory_gateway.at_work(operator) as node:
        job = await memory_gateway.submit(account)
        dispatch = await node.accept()
        await node.beat(dispatch.attempt_id, free_slots=0)
    await memory_gateway.hub.cancel(job, account)
    async with memory_gateway.as_node(operator) as node:
        assert (await node.greet(held=(dispatch.attempt_id,))).drop == (dispatch.attempt_id,)
        await node.say(Heartbeat(seq=1, load=0.0, free_slots=0, running=(dispatch.attempt_id,)))
        assert (await node.hear(JobCancel)).attempt_id == dispatch.attempt_id


async def test_a_restarted_gateway_knows_its_nodes_and_keeps_what_they_hold(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The attempt gets a fresh lease, the node keeps it, and is paid."""
    async with in_memory(tmp_path) as gateway:
        operator, account = await gateway.enlist(), await gateway.account()
        async with gateway.at_work(operator) as node:
            job = await gateway.submit(account)
            queued = await gateway.submit(account)
            dispatch = await node.accept()
            await node.beat(dispatch.attempt_id, free_slots=0)
    async with in_memory(tmp_path) as gateway:
        assert gateway.state(operator) is NodeState.HEALTHY
        await trio.sleep(55)
        async with gateway.as_node(operator) as node:
            assert (await node.greet(held=(dispatch.attempt_id,))).keep == (dispatch.attempt_id,)
            assert (await node.finish(dispatch)).credited_ucr == 10_000_000
            assert (await node.hear(JobDispatch)).job_id == queued
        assert (await gateway.job(account, job)).state is JobState.COMPLETED


async def test_a_restarted_gateway_gives_up_what_nobody_claims(autojump_clock: MockClock, tmp_path: Path) -> None:
    """60 s after its start the job is queued again."""
    async with in_memory(tmp_path) as gateway:
        operator, account = await gateway.enlist(), await gateway.account()
        async with gateway.at_work(operator) as node:
            job = await gateway.submit(account)
            await node.accept()
            await node.beat()
    async with in_memory(tmp_path) as gateway:
        await trio.sleep(59)
        assert (await gateway.job(account, job)).state is JobState.RUNNING
        await trio.sleep(3)
        assert (await gateway.job(account, job)).state is JobState.QUEUED


async def test_a_dispatch_that_was_lost_with_the_gateway_takes_no_retry(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It never started, which a gateway that was restarted meanwhile knows from its disk."""
    async with in_memory(tmp_path) as gateway:
        operator, account = await gateway.enlist(), await gateway.account()
        async with gateway.at_work(operator) as node:
            job = await gateway.submit(account)
            await node.hear(JobDispatch)
    async with in_memory(tmp_path) as gateway, gateway.at_work(operator) as node:
        assert (await node.hear(JobDispatch)).job_id == job
        assert (await gateway.job(account, job)).attempts[0].state == "DECLINED"


async def test_a_lease_whose_end_could_not_be_stored_ends_later(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The database was locked just then: the attempt is looked at again, and the job does not stay RUNNING for ever."""
    async with in_memory(tmp_path) as gateway:
        operator, account = await gateway.enlist(), await gateway.account()
        async with gateway.at_work(operator) as node:
            job = await gateway.submit(account)
            await node.accept()
            await node.beat()
        await gateway.hub.store.write(lambda tx: tx.connection.exec_driver_sql("PRAGMA busy_timeout=1"))
        other = open_engine(tmp_path / "gateway.db", writer=True)
        with other.begin():
            await trio.sleep(70)
        other.dispose()
        assert (await gateway.job(account, job)).state is JobState.RUNNING

        await trio.sleep(65)

        assert (await gateway.job(account, job)).state is JobState.QUEUED

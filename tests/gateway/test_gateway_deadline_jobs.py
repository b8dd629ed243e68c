"""Jobs with a deadline, fewer attempts, priorities and needs, on the virtual clock."""

from __future__ import annotations

import uuid

import attrs
import pytest
import trio
from scripted import MemoryGateway
from trio.testing import MockClock

from edgeagent.gateway.hub import Hub
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.network import Network
from edgeagent.gateway.store import accounts
from edgeagent.gateway.store.submissions import New
from edgeagent.wire.messages import Hello, JobCancel, JobDispatch, Limits, Outcome, Welcome


async def held(gateway: MemoryGateway, account: str) -> int:
    """Return what is set aside for the account's open jobs."""
    return (await gateway.hub.store.read(accounts.balance, account)).held_ucr


async def test_a_job_that_waits_past_its_deadline_fails(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """With the deadline as its error and its credits back, within two seconds of it."""
    await memory_gateway.enlist()
    account = await memory_gateway.account()
    job = await memory_gateway.submit(account, deadline_s=30.0)
    await trio.sleep(29)
    assert (await memory_gateway.job(account, job)).state is JobState.QUEUED
    await trio.sleep(3)

    ended = await memory_gateway.job(account, job)

    assert (ended.state, ended.attempts) == (JobState.FAILED, ())
    assert ended.error is not None
    assert ended.error.startswith("deadline")
    assert await held(memory_gateway, account) == 0


async def test_a_deadline_stops_the_attempt_that_runs(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Its node is told to cancel it, and its result comes too late."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node, trio.open_nursery() as nursery:
        await node.ready()
        job = await memory_gateway.submit(account, deadline_s=30.0)
        dispatch = await node.accept()
        started = trio.current_time()
        cancel = await node.hear(JobCancel)
        assert cancel.attempt_id == dispatch.attempt_id
        assert "deadline" in cancel.reason
        assert 29 < trio.current_time() - started < 33
        assert (await node.finish(dispatch)).credited_ucr == 0
        nursery.cancel_scope.cancel()

    ended = await memory_gateway.job(account, job)
    assert (ended.state, ended.credited_ucr) == (JobState.FAILED, 0)
    assert [one.outcome for one in ended.attempts] == ["cancelled"]


@pytest.mark.parametrize("by_s", [-86400.0, 86400.0])
async def test_setting_the_clock_moves_no_deadline(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, by_s: float
) -> None:
    """Deadlines are counted on a clock that goes on steadily."""
    await memory_gateway.enlist()
    account = await memory_gateway.account()
    job = await memory_gateway.submit(account, deadline_s=30.0)
    memory_gateway.wall.ahead_s += by_s
    await trio.sleep(20)
    assert (await memory_gateway.job(account, job)).state is JobState.QUEUED

    await trio.sleep(13)

    assert (await memory_gateway.job(account, job)).state is JobState.FAILED


async def test_a_deadline_outlives_a_restart(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """The next gateway on the same database ends the job."""
    await memory_gateway.enlist()
    account = await memory_gateway.account()
    job = await memory_gateway.submit(account, deadline_s=0.5)
    hub = memory_gateway.hub
    after = Hub(
        settings=hub.settings, store=hub.store, blobs=hub.blobs, tokens=hub.tokens, network=Network(hub.settings)
    )
    await after.load()
    await trio.sleep(0.6)
    await after.sweep()

    assert (await memory_gateway.job(account, job)).state is JobState.FAILED


async def test_a_job_with_one_attempt_is_not_tried_again(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """The first failure is its end."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        job = await memory_gateway.submit(account, max_attempts=1)
        await node.finish(await node.accept(), Outcome.EXITED)

    assert (await memory_gateway.job(account, job)).state is JobState.FAILED


async def test_the_important_job_goes_first(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Whatever the order in which they came."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    usual = await memory_gateway.submit(account)
    late = await memory_gateway.submit(account, priority=0)
    urgent = await memory_gateway.submit(account, priority=9)
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        order = []
        for _ in range(3):
            dispatch = await node.accept()
            order.append(dispatch.job_id)
            await node.finish(dispatch)

    assert order == [urgent, usual, late]


async def test_one_account_cannot_keep_another_waiting(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """With 300 jobs queued before it, a second account's job is the second to start, also after a restart's look."""
    operator = await memory_gateway.enlist()
    many, one = await memory_gateway.account("many"), await memory_gateway.account("one")
    for _ in range(300):
        await memory_gateway.submit(many, "echo")
    single = await memory_gateway.submit(one, "echo")
    for account, need in [(many, None), (one, None)]:
        assert need is None
        for lane in list(memory_gateway.hub.network.backlog._accounts[account].lanes):
            memory_gateway.hub.network.backlog.doubt(account, lane)  # as after a restart: all is in the store
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        order = []
        for _ in range(3):
            dispatch = await node.accept()
            order.append(dispatch.job_id)
            await node.finish(dispatch)

    assert single in order[:2]


async def test_a_queue_that_is_read_in_the_middle_of_a_round_starts_no_job_twice(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Two nodes of 200 slots get 400 different jobs: the store is read again while some are not started yet."""
    operators = [await memory_gateway.enlist(name) for name in "ab"]
    account = await memory_gateway.account()
    batch = [New(job_id=str(uuid.uuid4()), account_id=account, job_type="echo") for _ in range(400)]
    await memory_gateway.hub.submit(account, batch)
    got = []
    for operator in operators:
        async with memory_gateway.as_node(operator) as node:
            await node.ready(slots=200)
            got += [(await node.hear(JobDispatch)).job_id for _ in range(200)]

    assert sorted(got) == sorted(new.job_id for new in batch)


async def test_a_job_goes_to_the_node_that_has_what_it_requires(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """It waits while only others are there, and is told how many GPUs it gets."""
    plain, strong = await memory_gateway.enlist("plain"), await memory_gateway.enlist("strong")
    account = await memory_gateway.account()
    job = await memory_gateway.submit(account, tier="A", limits=Limits(gpus=1), memory_bytes=4 << 30)
    async with memory_gateway.as_node(plain) as other, memory_gateway.as_node(strong) as node:
        await other.ready()
        await trio.sleep(5)
        assert (await memory_gateway.job(account, job)).state is JobState.QUEUED

        hello = Hello(
            version="1", capabilities=("render",), slots=2, gpus=("g0",), sandbox_tier="A", memory_bytes=8 << 30
        )
        await node.say(hello)
        await node.hear(Welcome)
        await node.beat(free_slots=2)
        dispatch = await node.hear(JobDispatch)

    assert attrs.astuple(dispatch)[0] == job
    assert dispatch.limits.gpus == 1

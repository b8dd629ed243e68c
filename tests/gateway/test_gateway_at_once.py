"""A job that comes while a node is free and nothing waits is stored and started together, and overtakes nobody."""

from __future__ import annotations

import uuid

import pytest
import trio
from scripted import MemoryGateway
from scripted_node import Operator
from trio.testing import MockClock, wait_all_tasks_blocked

from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.ledger import CreditsShortError
from edgeagent.gateway.store.submissions import Key, New
from edgeagent.wire.messages import JobDispatch


@pytest.fixture
async def operator(memory_gateway: MemoryGateway) -> Operator:
    """A registered node."""
    return await memory_gateway.enlist()


@pytest.fixture
async def account(memory_gateway: MemoryGateway) -> str:
    """A submitter's account, by its id."""
    return await memory_gateway.account()


def new(account_id: str) -> New:
    """Return a job that costs something."""
    return New(job_id=str(uuid.uuid4()), account_id=account_id, job_type="render")


def commits(gateway: MemoryGateway) -> int:
    """Return how many transactions were committed."""
    return int([*gateway.hub.store.batches.lines("commits")][-1].rpartition(" ")[2])


async def test_a_job_for_a_free_node_is_stored_and_started_by_one_commit(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """The node has the job after a single transaction, which also says that it has."""
    async with memory_gateway.at_work(operator) as node:
        await wait_all_tasks_blocked()
        before = commits(memory_gateway)
        job = await memory_gateway.submit(account)
        assert (await node.hear(JobDispatch)).job_id == job
        assert commits(memory_gateway) == before + 1
        assert (await memory_gateway.job(account, job)).state is JobState.DISPATCHED


async def test_a_job_does_not_overtake_those_that_wait(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """Two jobs are queued and the dispatcher has not looked yet: a third one comes after them."""
    async with memory_gateway.at_work(operator, slots=1) as node:
        first, second = new(account), new(account)
        await memory_gateway.hub.submit(account, [first, second])
        await memory_gateway.submit(account)
        assert (await node.hear(JobDispatch)).job_id == first.job_id


async def test_a_job_that_cannot_be_paid_for_leaves_the_slot_free(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """The node's only slot was meant for it, and goes to the next job."""
    poor = await memory_gateway.account("poor", 0)
    async with memory_gateway.at_work(operator, slots=1) as node:
        with pytest.raises(CreditsShortError):
            await memory_gateway.submit(poor)
        job = await memory_gateway.submit(account)
        assert (await node.hear(JobDispatch)).job_id == job


async def test_a_repeated_submission_leaves_the_slot_free(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """The same key again starts nothing: the second slot is there for the next job."""
    async with memory_gateway.at_work(operator, slots=2) as node:
        hub, key = memory_gateway.hub, Key("once", "0" * 64)
        (job,), _ = await hub.submit(account, [new(account)], key)
        assert (await node.hear(JobDispatch)).job_id == job.job_id
        (again,), replayed = await hub.submit(account, [new(account)], key)
        assert (again.job_id, replayed) == (job.job_id, True)
        another = await memory_gateway.submit(account)
        assert (await node.hear(JobDispatch)).job_id == another


async def test_a_job_is_started_whose_submitter_has_gone(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, operator: Operator, account: str
) -> None:
    """A request that is cut off while its job is stored leaves no attempt that nobody knows of."""
    async with memory_gateway.at_work(operator) as node:
        job = new(account)
        with trio.CancelScope() as request:
            request.cancel()
            await memory_gateway.hub.submit(account, [job])
        assert (await node.hear(JobDispatch)).job_id == job.job_id

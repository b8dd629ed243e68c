"""Job types that a node does not take at present: it gets no such jobs, and gets them again when it says so."""

from __future__ import annotations

import trio
from scripted import MemoryGateway
from trio.testing import MockClock

from edgeagent.gateway.dispatch import Pool
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.needs import Need, Offer, Taken
from edgeagent.wire.messages import Drain, Heartbeat, HeartbeatAck, JobDispatch

OFFER = Offer(capabilities=frozenset({"echo", "render"}), slots=2)
RENDER, ECHO = Need("render"), Need("echo")


def _pool() -> Pool:
    pool = Pool()
    pool.join("node", OFFER)
    pool.update("node", limit=2, taken=Taken(), closed=frozenset({"render"}))
    return pool


def test_a_closed_type_finds_no_node() -> None:
    """Others do."""
    pool = _pool()

    assert (False, None) == (pool.can(RENDER), pool.take(RENDER))
    assert (True, "node") == (pool.can(ECHO), pool.take(ECHO))


def test_it_is_found_again_once_it_is_open() -> None:
    """Also by a lane that was asked for while it was closed."""
    pool = _pool()
    assert not pool.can(RENDER)

    pool.update("node", limit=2, taken=Taken())

    assert "node" == pool.take(RENDER)


def test_what_was_open_is_not_found_once_it_is_closed() -> None:
    """Entries from before are overtaken."""
    pool = Pool()
    pool.join("node", OFFER)
    pool.update("node", limit=2, taken=Taken())
    assert pool.can(RENDER)

    pool.update("node", limit=2, taken=Taken(), closed=frozenset({"render"}))

    assert pool.take(RENDER) is None


async def test_a_paused_type_is_not_dispatched_until_the_node_takes_it(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """The job waits in the queue, and is dispatched by the heartbeat that opens its type."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready(slots=2)
        await node.say(Heartbeat(seq=2, load=0.0, free_slots=2, not_now=("render",)))
        assert "" == (await node.hear(HeartbeatAck)).no_work
        job = await memory_gateway.submit(account)
        await trio.sleep(5)
        await node.say(Heartbeat(seq=3, load=0.0, free_slots=2, not_now=("render",)))
        await node.hear(HeartbeatAck)
        assert (await memory_gateway.job(account, job)).state is JobState.QUEUED
        await node.say(Heartbeat(seq=4, load=0.0, free_slots=2))
        assert job == (await node.hear(JobDispatch)).job_id


async def test_a_node_hears_why_it_gets_nothing(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """In its heartbeat's acknowledgement; nothing is said where it would get work."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        await node.greet(slots=1)
        assert "" == (await node.beat(free_slots=1)).no_work
        assert "all its slots are taken, or it takes nothing at present" == (await node.beat(free_slots=0)).no_work
        await node.say(Drain(reason="update"))
        ack = await node.beat(free_slots=1)

    assert "it drains" in ack.no_work
    assert not ack.probation

"""How nodes stand, over links on a virtual clock: silence, failures, probation."""

from __future__ import annotations

from pathlib import Path

import trio
from scripted import MemoryGateway, in_memory
from scripted_node import Operator
from trio.testing import MockClock

from edgeagent.gateway.jobs import JobState
from edgeagent.wire.messages import (
    Heartbeat,
    JobDispatch,
    NodeState,
    Outcome,
)

DAY_S = 24 * 3600.0


async def test_a_silent_node_is_unhealthy_at_90_s_and_offline_at_5_min(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """And HEALTHY again with its next heartbeat; each change is stored with its cause."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
    await trio.sleep(89)
    assert memory_gateway.state(operator) is NodeState.HEALTHY
    await trio.sleep(3)
    assert memory_gateway.state(operator) is NodeState.UNHEALTHY
    await trio.sleep(207)
    assert memory_gateway.state(operator) is NodeState.UNHEALTHY
    await trio.sleep(3)
    assert memory_gateway.state(operator) is NodeState.OFFLINE
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
    assert memory_gateway.state(operator) is NodeState.HEALTHY


async def test_jobs_wait_for_a_healthy_node(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """A link alone gets nothing; the first heartbeat does."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    job = await memory_gateway.submit(account)
    async with memory_gateway.as_node(operator) as node:
        await node.greet()
        await trio.sleep(8)
        assert (await memory_gateway.job(account, job)).state is JobState.QUEUED
        await node.say(Heartbeat(seq=1, load=0.0, free_slots=1))
        assert (await node.hear(JobDispatch)).job_id == job


async def test_three_failures_bench_a_node_and_then_it_is_on_probation(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """One job at a time, until one of them succeeds."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready(slots=4)
        for _ in range(3):
            await memory_gateway.submit(account)
        for dispatch in [await node.accept() for _ in range(3)]:
            await node.finish(dispatch, Outcome.FAILED)
        assert memory_gateway.state(operator) is NodeState.UNHEALTHY
        await trio.sleep(10)
        await node.say(Heartbeat(seq=1, load=0.0, free_slots=4))
        dispatch = await node.accept()
        await trio.sleep(10)
        assert len(memory_gateway.hub.network.flights_of(operator.node_id)) == 1
        await node.finish(dispatch)
        await node.accept()
        await node.accept()


async def test_a_poison_job_benches_nobody(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """It fails everywhere it is tried, and every node is as HEALTHY as before."""
    operators = [await memory_gateway.enlist(name) for name in "abcd"]
    account = await memory_gateway.account()
    for _ in range(3):
        await memory_gateway.submit(account)
    async with trio.open_nursery() as nursery:
        for operator in operators:
            nursery.start_soon(fail_everything, memory_gateway, operator)
        await trio.sleep(60)
        assert all(memory_gateway.state(operator) is NodeState.HEALTHY for operator in operators)
        registry = memory_gateway.hub.network.registry
        assert [registry[operator.node_id].failures for operator in operators] == [()] * 4
        nursery.cancel_scope.cancel()


async def fail_everything(gateway: MemoryGateway, operator: Operator) -> None:
    async with gateway.as_node(operator) as node, trio.open_nursery() as nursery:
        await node.ready(slots=2)
        nursery.start_soon(node.beat_for_ever, 2)
        while True:
            dispatch = await node.accept()
            await node.finish(dispatch, Outcome.FAILED)


async def test_failures_are_remembered_over_a_restart(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Restarting the gateway does not end anybody's probation."""
    async with in_memory(tmp_path) as gateway:
        operator, account = await gateway.enlist(), await gateway.account()
        async with gateway.as_node(operator) as node:
            await node.ready(slots=3)
            for _ in range(3):
                await gateway.submit(account)
            for dispatch in [await node.accept() for _ in range(3)]:
                await node.finish(dispatch, Outcome.FAILED)
    async with in_memory(tmp_path) as gateway:
        assert gateway.state(operator) is NodeState.UNHEALTHY
        assert gateway.hub.network.registry[operator.node_id].probation

"""A whole node against a scripted gateway on loopback: its jobs, how it stops, and what ends it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from loopback_gateway import Gateway
from service_node import NODE_ID, Node, StandIn, dispatch, in_time, owners_view, settings

from edgeagent.errors import EdgeAgentError, RefusedError
from edgeagent.node import service
from edgeagent.node.config import Identity, load
from edgeagent.node.slots import GpuRules
from edgeagent.node.stopping import Stop
from edgeagent.wire import identity
from edgeagent.wire.messages import (
    Bye,
    Drain,
    Heartbeat,
    JobAccept,
    JobDecline,
    JobResult,
    JobResultAck,
    Limits,
    Outcome,
)
from edgeagent.wire.urls import GatewayUrl


async def test_a_job_goes_through(gateway: Gateway, node: Node) -> None:
    """Dispatch, accept, result, acknowledgement; health follows the link."""
    with in_time():
        link = await gateway.accept()
        hello = await link.welcome()
        await link.get(Heartbeat)
        job = dispatch()
        await link.say(job)
        accepted = await link.get(JobAccept)
        node.executor.let_go.set()
        result = await link.get(JobResult)
        health = await node.health()

    assert (("echo",), 2, "stand-in", ()) == (hello.capabilities, hello.slots, hello.sandbox_tier, hello.held)
    assert job.attempt_id == accepted.attempt_id == result.attempt_id
    assert (Outcome.COMPLETED, {"a": 1}) == (result.outcome, result.value)
    assert ("healthy", True) == (health["status"], health["relay_connected"])


async def test_a_job_survives_the_loss_of_its_link(gateway: Gateway, node: Node, config: Identity) -> None:
    """It is held at the next Hello, and so is its result until that is acknowledged."""
    with in_time():
        link = await gateway.accept()
        await link.welcome()
        job = dispatch()
        await link.say(job)
        await link.get(JobAccept)
        await link.close(1012, "restarting")
        link = await gateway.accept()
        running = await link.welcome(keep=(job.attempt_id,))
        node.executor.let_go.set()
        await link.get(JobResult)
        await link.close(1012, "restarting before it was stored")
        link = await gateway.accept()
        unacknowledged = await link.welcome(keep=(job.attempt_id,))
        again = await link.get(JobResult)
        await link.say(JobResultAck(attempt_id=again.attempt_id))
        while (await owners_view(config))["spool"]["undelivered"]:  # it is held until it is off the disk
            pass
        await link.close(1012, "restarting once more")
        settled = await (await gateway.accept()).welcome()

    assert (job.attempt_id,) == running.held == unacknowledged.held
    assert () == settled.held
    assert {"a": 1} == again.value


async def test_draining_lets_jobs_finish_and_leaves_in_order(gateway: Gateway, node: Node) -> None:
    """Drain, decline what still comes, finish, deliver, bye, and only then end."""
    with in_time():
        link = await gateway.accept()
        await link.welcome()
        await link.say(dispatch())
        await link.get(JobAccept)
        node.stop.request(node.grace_s)
        await link.get(Drain)
        await link.say(dispatch())
        declined = await link.get(JobDecline)
        assert not node.ended.is_set()
        node.executor.let_go.set()
        result = await link.get(JobResult)
        await link.say(JobResultAck(attempt_id=result.attempt_id))
        await link.get(Bye)
        assert not node.ended.is_set()
        await link.say(Bye(reason="goodbye"))
        await node.ended.wait()

    assert "being stopped" in declined.reason
    assert Outcome.COMPLETED is result.outcome
    assert not node.executor.killed


async def test_jobs_that_outlast_the_grace_are_given_back(
    gateway: Gateway, config: Identity, nursery: trio.Nursery
) -> None:
    """Reported as lost, so that another node gets them."""
    node = Node(config)
    node.grace_s = 0.05
    await nursery.start(node.run)
    with in_time():
        link = await gateway.accept()
        await link.welcome()
        await link.say(dispatch())
        await link.get(JobAccept)
        node.stop.request(node.grace_s)
        result = await link.get(JobResult)
        await link.say(JobResultAck(attempt_id=result.attempt_id))
        await link.get(Bye)
        await link.say(Bye(reason="goodbye"))
        await node.ended.wait()

    assert Outcome.LOST is result.outcome
    assert "stopped" in result.detail


async def test_cancelling_ends_at_once_and_the_next_start_says_what_was_lost(
    gateway: Gateway, config: Identity, nursery: trio.Nursery
) -> None:
    """A second signal; as far as the spool goes, a kill -9."""
    node = Node(config)
    await nursery.start(node.run)
    with in_time():
        link = await gateway.accept()
        await link.welcome()
        job = dispatch()
        await link.say(job)
        await link.get(JobAccept)
        await node.executor.started.wait()
        node.scope.cancel()
        await node.ended.wait()
        await nursery.start(Node(config).run)
        link = await gateway.accept()
        hello = await link.welcome(drop=(job.attempt_id,))
        result = await link.get(JobResult)

    assert node.executor.killed
    assert (job.attempt_id,) == hello.held
    assert (job.job_id, Outcome.LOST) == (result.job_id, result.outcome)


async def test_a_stopped_node_ends_although_no_gateway_is_there(
    gateway: Gateway, config: Identity, nursery: trio.Nursery
) -> None:
    """Nobody to say Bye to."""
    node = Node(attrs.evolve(config, gateway=GatewayUrl.parse("http://127.0.0.1:1")))
    node.health_url = await nursery.start(node.run)
    with in_time():
        health = await node.health()
        node.stop.request(node.grace_s)
        await node.ended.wait()

    assert ("degraded", False) == (health["status"], health["relay_connected"])


async def test_a_refused_token_ends_the_node_with_one_fault(gateway: Gateway, config: Identity) -> None:
    """Out of all the groups that the rings put around it."""
    async with trio.open_nursery() as nursery:

        async def refuse() -> None:
            await (await gateway.accept()).close(4001, "token expired")

        nursery.start_soon(refuse)
        with in_time(), pytest.raises(RefusedError, match=r"4001.*token expired.*edgeagent register --force"):
            await service.run(config, settings(), StandIn(), ("echo",), stop=Stop())


async def test_a_health_port_in_use_ends_the_node_with_one_fault(gateway: Gateway, node: Node, tmp_path: Path) -> None:
    """Before it connects anywhere."""
    port = int(node.health_url.split(":")[2].split("/")[0])
    other = attrs.evolve(node.config, home=tmp_path / "other")

    with in_time(), pytest.raises(EdgeAgentError, match=f"port {port}"):
        await service.run(other, settings(port=port), StandIn(), ("echo",), stop=Stop())


async def test_a_fresh_token_is_used_and_stored(gateway: Gateway, nursery: trio.Nursery, tmp_path: Path) -> None:
    """Renewed on the link, so that no person need do it."""
    key = identity.new_private_key()
    old, new = (identity.issue_node_token(key, "k", NODE_ID, (), time.time() + shift) for shift in (0, 100))
    document = {"node_id": NODE_ID, "gateway_url": str(gateway.url), "jwt_token": old, "name": "n"}
    (tmp_path / "config.json").write_text(json.dumps(document))
    node = Node(load(tmp_path, {}))
    await nursery.start(node.run)
    with in_time():
        link = await gateway.accept()
        await link.welcome(token=new)
        while json.loads((tmp_path / "config.json").read_text())["jwt_token"] == old:
            await trio.testing.wait_all_tasks_blocked()

    assert {**document, "jwt_token": new} == json.loads((tmp_path / "config.json").read_text())
    assert 0o600 == (tmp_path / "config.json").stat().st_mode & 0o777


async def test_gpus_are_announced_and_given_out(gateway: Gateway, nursery: trio.Nursery, config: Identity) -> None:
    """A second job that needs the only one is declined while the first has it."""
    node = Node(config)
    node.lent = GpuRules(uuids=("GPU-1",))
    await nursery.start(node.run)
    first, second = (attrs.evolve(dispatch(), limits=Limits(gpus=1)) for _ in range(2))
    with in_time():
        link = await gateway.accept()
        hello = await link.welcome()
        await link.say(first)
        await link.get(JobAccept)
        await link.say(second)
        declined = await link.get(JobDecline)
        node.executor.let_go.set()
        await link.get(JobResult)

    assert ("GPU-1",) == hello.gpus
    assert (second.attempt_id, "the job needs 1 GPUs, and 0 are free") == (declined.attempt_id, declined.reason)

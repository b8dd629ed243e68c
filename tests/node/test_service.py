"""A whole node against a scripted gateway on loopback: real sockets, real spool, a stand-in for the sandbox."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import httpx2
import pytest
import trio
import trio.testing
from loopback_gateway import Gateway, serve

from edgeagent.errors import EdgeAgentError, RefusedError
from edgeagent.node import service
from edgeagent.node.config import Identity, load
from edgeagent.node.controller import Controller
from edgeagent.node.executor import Finished
from edgeagent.node.options import sections
from edgeagent.node.options.settings import Settings
from edgeagent.node.slots import GpuRules
from edgeagent.node.stopping import Stop
from edgeagent.wire import identity
from edgeagent.wire.messages import (
    Bye,
    Drain,
    Heartbeat,
    HeartbeatAck,
    JobAccept,
    JobDecline,
    JobDispatch,
    JobProgress,
    JobResult,
    JobResultAck,
    Limits,
    NodeState,
    Outcome,
)
from edgeagent.wire.urls import GatewayUrl

NODE_ID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
async def gateway(nursery: trio.Nursery) -> Gateway:
    """A gateway that does what the test says."""
    return await serve(nursery)


class StandIn:
    """Runs attempts until the test lets them end."""

    tier = "stand-in"
    shows_inputs = False

    def __init__(self) -> None:
        self.let_go = trio.Event()
        self.started = trio.Event()
        self.killed = False

    async def run(
        self,
        dispatch: JobDispatch,
        *,
        progress: Callable[[JobProgress], None],
        stop: trio.Event,
        outputs: Path,
        gpus: tuple[str, ...],
    ) -> Finished:
        self.started.set()
        try:
            async with trio.open_nursery() as nursery:
                for event in (self.let_go, stop):
                    nursery.start_soon(self._until, event, nursery.cancel_scope)
        except BaseException:
            self.killed = True
            raise
        return Finished(outcome=Outcome.CANCELLED if stop.is_set() else Outcome.COMPLETED, value=dispatch.payload)

    async def _until(self, event: trio.Event, scope: trio.CancelScope) -> None:
        await event.wait()
        scope.cancel()


def _settings(*, grace_s: float = 60.0, port: int = 0) -> Settings:
    return Settings(
        share=sections.Share(slots=2),
        health=sections.Health(port=port),
        shutdown=sections.Shutdown(grace_s=grace_s),
    )


class Node:
    """A running node and the ways to end it."""

    def __init__(self, config: Identity) -> None:
        self.config = config
        self.executor = StandIn()
        self.stop = Stop()
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.health_url = ""
        self.grace_s = 60.0
        self.lent = GpuRules()

    async def run(self, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            await service.run(
                self.config,
                _settings(grace_s=self.grace_s),
                self.executor,
                ("echo",),
                stop=self.stop,
                lent=self.lent,
                task_status=task_status,
            )
        self.ended.set()

    async def health(self) -> dict[str, Any]:
        async with httpx2.AsyncClient() as client:
            document: dict[str, Any] = (await client.get(self.health_url)).json()
            return document


@pytest.fixture
def config(gateway: Gateway, tmp_path: Path) -> Identity:
    """A node of that gateway."""
    return Identity(home=tmp_path / "home", gateway=gateway.url, node_id=NODE_ID, token="the-token")


@pytest.fixture
async def node(config: Identity, nursery: trio.Nursery) -> AsyncIterator[Node]:
    """A running node."""
    node = Node(config)
    node.health_url = await nursery.start(node.run)
    return node


@contextlib.contextmanager
def _in_time() -> Any:
    with trio.fail_after(20):
        yield


def _dispatch() -> JobDispatch:
    return JobDispatch(job_id=str(uuid.uuid4()), attempt_id=str(uuid.uuid4()), job_type="echo", payload={"a": 1})


async def test_a_job_goes_through(gateway: Gateway, node: Node) -> None:
    """Dispatch, accept, result, acknowledgement; health follows the link."""
    with _in_time():
        link = await gateway.accept()
        hello = await link.welcome()
        await link.get(Heartbeat)
        dispatch = _dispatch()
        await link.say(dispatch)
        accepted = await link.get(JobAccept)
        node.executor.let_go.set()
        result = await link.get(JobResult)
        health = await node.health()

    assert (("echo",), 2, "stand-in", ()) == (hello.capabilities, hello.slots, hello.sandbox_tier, hello.held)
    assert dispatch.attempt_id == accepted.attempt_id == result.attempt_id
    assert (Outcome.COMPLETED, {"a": 1}) == (result.outcome, result.value)
    assert ("healthy", True) == (health["status"], health["relay_connected"])


async def test_a_job_survives_the_loss_of_its_link(gateway: Gateway, node: Node) -> None:
    """It is held at the next Hello, and so is its result until that is acknowledged."""
    with _in_time():
        link = await gateway.accept()
        await link.welcome()
        dispatch = _dispatch()
        await link.say(dispatch)
        await link.get(JobAccept)
        await link.close(1012, "restarting")
        link = await gateway.accept()
        running = await link.welcome(keep=(dispatch.attempt_id,))
        node.executor.let_go.set()
        await link.get(JobResult)
        await link.close(1012, "restarting before it was stored")
        link = await gateway.accept()
        unacknowledged = await link.welcome(keep=(dispatch.attempt_id,))
        again = await link.get(JobResult)
        await link.say(JobResultAck(attempt_id=again.attempt_id))
        await link.close(1012, "restarting once more")
        settled = await (await gateway.accept()).welcome()

    assert (dispatch.attempt_id,) == running.held == unacknowledged.held
    assert () == settled.held
    assert {"a": 1} == again.value


async def test_draining_lets_jobs_finish_and_leaves_in_order(gateway: Gateway, node: Node) -> None:
    """Drain, decline what still comes, finish, deliver, bye, and only then end."""
    with _in_time():
        link = await gateway.accept()
        await link.welcome()
        await link.say(_dispatch())
        await link.get(JobAccept)
        node.stop.request(node.grace_s)
        await link.get(Drain)
        await link.say(_dispatch())
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
    with _in_time():
        link = await gateway.accept()
        await link.welcome()
        await link.say(_dispatch())
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
    with _in_time():
        link = await gateway.accept()
        await link.welcome()
        dispatch = _dispatch()
        await link.say(dispatch)
        await link.get(JobAccept)
        await node.executor.started.wait()
        node.scope.cancel()
        await node.ended.wait()
        await nursery.start(Node(config).run)
        link = await gateway.accept()
        hello = await link.welcome(drop=(dispatch.attempt_id,))
        result = await link.get(JobResult)

    assert node.executor.killed
    assert (dispatch.attempt_id,) == hello.held
    assert (dispatch.job_id, Outcome.LOST) == (result.job_id, result.outcome)


async def test_a_stopped_node_ends_although_no_gateway_is_there(
    gateway: Gateway, config: Identity, nursery: trio.Nursery
) -> None:
    """Nobody to say Bye to."""
    node = Node(attrs.evolve(config, gateway=GatewayUrl.parse("http://127.0.0.1:1")))
    node.health_url = await nursery.start(node.run)
    with _in_time():
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
        with _in_time(), pytest.raises(RefusedError, match=r"4001.*token expired.*edgeagent register --force"):
            await service.run(config, _settings(), StandIn(), ("echo",), stop=Stop())


async def test_a_health_port_in_use_ends_the_node_with_one_fault(gateway: Gateway, node: Node, tmp_path: Path) -> None:
    """Before it connects anywhere."""
    port = int(node.health_url.split(":")[2].split("/")[0])
    other = attrs.evolve(node.config, home=tmp_path / "other")

    with _in_time(), pytest.raises(EdgeAgentError, match=f"port {port}"):
        await service.run(other, _settings(port=port), StandIn(), ("echo",), stop=Stop())


async def test_a_fresh_token_is_used_and_stored(gateway: Gateway, nursery: trio.Nursery, tmp_path: Path) -> None:
    """Renewed on the link, so that no person need do it."""
    key = identity.new_private_key()
    old, new = (identity.issue_node_token(key, "k", NODE_ID, (), time.time() + shift) for shift in (0, 100))
    document = {"node_id": NODE_ID, "gateway_url": str(gateway.url), "jwt_token": old, "name": "n"}
    (tmp_path / "config.json").write_text(json.dumps(document))
    node = Node(load(tmp_path, {}))
    await nursery.start(node.run)
    with _in_time():
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
    first, second = (attrs.evolve(_dispatch(), limits=Limits(gpus=1)) for _ in range(2))
    with _in_time():
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


async def _state(config: Identity) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        with Controller(config.home) as controller:
            state: dict[str, Any] = controller.ask("state")["state"]
            return state

    return await trio.to_thread.run_sync(ask)


async def _order(config: Identity, do: str, **details: Any) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        with Controller(config.home) as controller:
            return controller.ask(do, **details)

    return await trio.to_thread.run_sync(ask)


async def test_the_owner_sees_what_runs_and_how_the_gateway_sees_the_node(
    gateway: Gateway, node: Node, config: Identity
) -> None:
    """One document, with a schema."""
    with _in_time():
        link = await gateway.accept()
        await link.welcome()
        beat = await link.get(Heartbeat)
        await link.say(HeartbeatAck(seq=beat.seq, state=NodeState.HEALTHY, probation=True, no_work="on probation"))
        dispatch = _dispatch()
        await link.say(dispatch)
        await link.get(JobAccept)
        await node.executor.started.wait()
        state = await _state(config)
        while state["link"]["state"] is None:
            state = await _state(config)

    (running,) = state["running"]
    assert ("edgeagent.node-state/1", NODE_ID) == (state["schema"], state["node_id"])
    assert (True, "HEALTHY", True, "on probation") == tuple(
        state["link"][key] for key in ("up", "state", "probation", "no_work")
    )
    assert (dispatch.attempt_id, dispatch.job_id, "echo") == tuple(
        running[key] for key in ("attempt_id", "job_id", "job_type")
    )
    assert (2, 1, [{"job_type": "echo", "against": []}]) == (state["slots"], state["free_slots"], state["job_types"])
    assert state["spool"]["size_bytes"] > 0


async def test_a_paused_node_takes_nothing_and_says_so_at_once(gateway: Gateway, node: Node, config: Identity) -> None:
    """What runs goes on, the link stays, and after resume jobs are taken again."""
    with _in_time():
        link = await gateway.accept()
        await link.welcome(heartbeat_s=3600)
        assert () == (await link.get(Heartbeat)).not_now
        await link.say(first := _dispatch())
        await link.get(JobAccept)
        await _order(config, "pause")
        told = await link.get(Heartbeat)
        await link.say(_dispatch())
        declined = await link.get(JobDecline)
        state = await _state(config)
        assert (await _order(config, "resume"))["was_paused"]
        again = await link.get(Heartbeat)
        node.executor.let_go.set()
        result = await link.get(JobResult)

    assert (("echo",), 0, (first.attempt_id,)) == (told.not_now, told.free_slots, told.running)
    assert "paused by its owner" in declined.reason
    assert ["paused"] == [reason["code"] for reason in state["against"]]
    assert ((), 1) == (again.not_now, again.free_slots)
    assert (first.attempt_id, Outcome.COMPLETED) == (result.attempt_id, result.outcome)


async def test_a_drain_by_the_owner_ends_the_node(gateway: Gateway, node: Node, config: Identity) -> None:
    """With a deadline of his own, which another order can only bring nearer."""
    with _in_time():
        link = await gateway.accept()
        await link.welcome()
        await link.say(_dispatch())
        await link.get(JobAccept)
        first = await _order(config, "drain", deadline_s=3600)
        later = await _order(config, "drain", deadline_s=7200)
        drain = await link.get(Drain)
        state = await _state(config)
        assert not node.ended.is_set()
        await _order(config, "drain", deadline_s=0)
        result = await link.get(JobResult)
        await link.say(JobResultAck(attempt_id=result.attempt_id))
        await link.get(Bye)
        await link.say(Bye(reason="goodbye"))
        await node.ended.wait()

    assert (1, 3600) == (first["running"], pytest.approx(first["left_s"], abs=20))
    assert later["left_s"] <= first["left_s"]
    assert "drained by its owner" in drain.reason
    assert drain.reason == state["draining"]
    assert Outcome.LOST is result.outcome


@pytest.mark.parametrize("value", [-1, "1h", True, 1e12])
async def test_an_order_that_makes_no_sense_is_refused(node: Node, config: Identity, value: object) -> None:
    """The node goes on as before."""
    with _in_time(), pytest.raises(EdgeAgentError, match="deadline_s must be seconds from 0"):
        await _order(config, "drain", deadline_s=value)
    assert not node.stop.asked

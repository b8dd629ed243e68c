"""A whole node against a gateway that speaks only the other dialect: real sockets, a stand-in for the sandbox."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from compat_gateway import Json, Line, serving

from edgeagent.errors import RefusedError
from edgeagent.node import enrol, service
from edgeagent.node.config import load
from edgeagent.node.dialect import Jobs, Translator
from edgeagent.node.executor import Finished
from edgeagent.node.options.sections import Health
from edgeagent.node.options.settings import Settings
from edgeagent.node.stopping import Stop
from edgeagent.wire.codec import MAX_FRAME_BYTES
from edgeagent.wire.dialect import HeartbeatPing, JobAssign, decode
from edgeagent.wire.messages import JobDispatch, JobProgress, JobResult, JobResultAck, NodeState, Outcome

JOB = "6f0c1a52-8a57-4b8e-9f49-0d7f6d1a1b1c"

SETTINGS = Settings(health=Health(port=0))


class Echo:
    """Stands in for the sandbox: gives the payload back once it may, or fails."""

    tier = "stand-in"
    shows_inputs = False

    def __init__(self) -> None:
        self.let_go = trio.Event()

    async def run(
        self,
        dispatch: JobDispatch,
        *,
        gpus: tuple[str, ...],
        progress: Callable[[JobProgress], None],
        stop: trio.Event,
        outputs: Path,
    ) -> Finished:
        await self.let_go.wait()
        if dispatch.payload.get("fail"):
            return Finished(outcome=Outcome.FAILED, detail="as asked")
        return Finished(outcome=Outcome.COMPLETED, value=dispatch.payload)


async def until(line: Line, **wanted: Any) -> Json:
    """Return the next message with these fields; others are passed over."""
    while True:
        message = await line.hear()
        if wanted.items() <= message.items():
            return message


async def test_the_node_works_for_such_a_gateway(tmp_path: Path) -> None:
    """It registers, connects with the token in the address, beats by REST, does jobs, resends what was not heard."""
    with trio.fail_after(60):
        async with serving() as gateway, trio.open_nursery() as nursery:
            registered = await enrol.register(tmp_path, gateway.url, "n", ("echo",), force=False)
            assert set(gateway.bodies[0]) == {"name", "public_key", "capabilities"}
            executor, stop = Echo(), Stop()
            config = load(tmp_path, {})

            async def run() -> None:
                await service.run(config, SETTINGS, executor, ("echo",), stop=stop)

            nursery.start_soon(run)
            line = await gateway.accept()
            assert gateway.handshakes == [403, 101]
            await line.say("heartbeat_ping", payload={})
            await until(line, type="heartbeat_pong")
            await line.assign(JOB, "echo", text="hi", deep={"a": [1]})
            assert (await until(line, type="job_ack"))["accepted"] is True
            await until(line, type="status_update", job_id=JOB, status="running")
            await line.assign(JOB, "echo", text="again")
            await until(line, type="job_ack")
            executor.let_go.set()
            done = await until(line, status="completed")
            assert (done["progress"], done["detail"]) == (1.0, {"text": "hi", "deep": {"a": [1]}})
            await line.close(1001)

            line = await gateway.accept()
            assert (await until(line, status="completed"))["job_id"] == JOB
            await line.say("heartbeat_ping", payload={})
            await until(line, type="heartbeat_pong")
            await line.assign(other := str(uuid.uuid4()), "echo", fail=True)
            failed = await until(line, status="failed")
            assert (failed["job_id"], failed["detail"]) == (other, "failed: as asked")
            await line.assign("no uuid", "echo")
            assert (await until(line, type="job_ack"))["accepted"] is False
            await line.assign(strange := str(uuid.uuid4()), "render")
            assert "does not run" in (await until(line, status="failed", job_id=strange))["detail"]
            assert gateway.loads
            await line.say("heartbeat_ping", payload={})
            await until(line, type="heartbeat_pong")
            assert registered.node_id in gateway.tokens
            stop.request(60)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(_hang_up, line)


async def _hang_up(line: Line) -> None:
    try:
        while True:
            await line.hear()
    except AssertionError:  # the node has closed
        line.over.set()


async def test_403_at_the_handshake_ends_the_node(tmp_path: Path) -> None:
    """As close code 4001 does: such a gateway knows no challenge."""
    with trio.fail_after(60):
        async with serving() as gateway:
            await enrol.register(tmp_path, gateway.url, "n", ("echo",), force=False)
            gateway.tokens.clear()
            with pytest.raises(RefusedError, match=r"4001.*HTTP 403.*register --force"):
                await service.run(load(tmp_path, {}), SETTINGS, Echo(), ("echo",), stop=Stop())
    assert gateway.handshakes == [403, 403]


async def test_force_there_makes_a_new_node(tmp_path: Path) -> None:
    """Such a gateway does not know what replacing is; we do not say that the node was kept."""
    async with serving() as gateway:
        first = await enrol.register(tmp_path, gateway.url, "n", ("echo",), force=False)
        second = await enrol.register(tmp_path, gateway.url, "n", ("echo",), force=True)
    assert first.node_id != second.node_id
    assert not second.replaced


def translator() -> tuple[Translator, str]:
    """Return a link on which one job was assigned, and the attempt that stands for it."""
    link = Translator(Jobs(lambda: str(uuid.uuid4())))
    (dispatch,) = link.from_gateway(JobAssign(job_id=JOB.upper(), job_type="echo"), NodeState.HEALTHY).messages
    assert isinstance(dispatch, JobDispatch)
    return link, dispatch.attempt_id


def test_a_result_is_received_when_the_gateway_is_heard_again() -> None:
    """Not before; said twice on one link it is sent once."""
    link, attempt_id = translator()
    result = JobResult(job_id=JOB, attempt_id=attempt_id, outcome=Outcome.COMPLETED)

    assert len(link.from_node(result).frames) == 1
    assert link.from_node(result).frames == ()
    ack, _ = link.from_gateway(HeartbeatPing(), NodeState.HEALTHY).messages

    assert ack == JobResultAck(attempt_id=attempt_id)
    assert link.from_node(result).frames == ()


def test_a_job_may_come_again_once_it_has_ended() -> None:
    """The gateway tries it once more: that is another attempt."""
    link, attempt_id = translator()
    link.from_node(JobResult(job_id=JOB, attempt_id=attempt_id, outcome=Outcome.FAILED))

    ack, dispatch = link.from_gateway(JobAssign(job_id=JOB, job_type="echo"), NodeState.HEALTHY).messages

    assert isinstance(ack, JobResultAck)
    assert isinstance(dispatch, JobDispatch)
    assert dispatch.attempt_id != attempt_id


def test_a_result_too_large_to_send_is_a_failure() -> None:
    """Said in words that fit."""
    link, attempt_id = translator()
    value = "x" * MAX_FRAME_BYTES

    (frame,) = link.from_node(
        JobResult(job_id=JOB, attempt_id=attempt_id, outcome=Outcome.COMPLETED, value=value)
    ).frames

    assert "cannot be sent" in str(decode(frame))

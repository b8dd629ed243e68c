"""``edgeagent run`` as a process with the real sandbox, against a gateway on loopback: what its signals do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from loopback_gateway import Connection, Gateway, serve

from edgeagent.node import journal
from edgeagent.wire import identity
from edgeagent.wire.messages import (
    Bye,
    Drain,
    Heartbeat,
    JobAccept,
    JobDispatch,
    JobProgress,
    JobResult,
    JobResultAck,
    Outcome,
)

pytestmark = pytest.mark.needs("sandbox")

NODE_ID = "00000000-0000-4000-8000-000000000001"
PLUGIN = """
import os, signal, time
from edgeagent.plugins import BaseWorkerPlugin, WorkerResult, current_job

class Stubborn(BaseWorkerPlugin):
    job_type = "stubborn"

    async def execute(self, job_id, payload):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        current_job().progress(0.5, "here")
        time.sleep(payload["sleep_s"])
        return WorkerResult(success=True, value=sorted(os.environ))
"""


@pytest.fixture
async def gateway(nursery: trio.Nursery) -> Gateway:
    """A gateway that does what the test says."""
    return await serve(nursery)


@contextlib.asynccontextmanager
async def _node(gateway: Gateway, home: Path) -> AsyncIterator[trio.Process]:
    """Run a node from variables alone, with the plugin above."""
    (home / "plugins").mkdir(parents=True, exist_ok=True)
    (home / "plugins" / "stubborn.py").write_text(PLUGIN)
    token = identity.issue_node_token(identity.new_private_key(), "k", NODE_ID, ("stubborn",), time.time())
    environ = {
        **os.environ,
        "EDGEAGENT_HOME": str(home),
        "GATEWAY_URL": gateway.url.relay("x").partition("/relay")[0],  # as the guide writes it: ws://HOST/api/v1
        "NODE_JWT": token,
        "HEALTH_PORT": "0",
    }
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "edgeagent", "run"], env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    async with process.stderr:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _running(gateway: Gateway, sleep_s: float) -> tuple[Connection, JobDispatch]:
    """Return a link on which the stubborn job runs."""
    link = await gateway.accept()
    hello = await link.welcome()
    assert {"stubborn", "echo", "cpu_benchmark"} == set(hello.capabilities)
    dispatch = JobDispatch(
        job_id=str(uuid.uuid4()), attempt_id=str(uuid.uuid4()), job_type="stubborn", payload={"sleep_s": sleep_s}
    )
    await link.say(dispatch)
    await link.get(JobAccept)
    await link.get(JobProgress)
    return link, dispatch


async def test_the_first_signal_drains_and_the_second_stops_at_once(gateway: Gateway, tmp_path: Path) -> None:
    """Exit code 1, since a job was cut off; its attempt is reported as lost at the next start, to the owner, too."""
    with trio.fail_after(300):
        async with _node(gateway, tmp_path) as process:
            link, dispatch = await _running(gateway, 3600)
            process.send_signal(signal.SIGTERM)
            await link.get(Drain)
            assert process.returncode is None
            process.send_signal(signal.SIGTERM)
            with trio.fail_after(60):
                assert 1 == await process.wait()
        async with _node(gateway, tmp_path):
            link = await gateway.accept()
            hello = await link.welcome(drop=(dispatch.attempt_id,))
            result = await link.get(JobResult)

    assert (dispatch.attempt_id,) == hello.held
    assert (dispatch.attempt_id, Outcome.LOST) == (result.attempt_id, result.outcome)
    assert ["Job lost when the node ended; the gateway is told"] == [
        entry["event"] for entry in journal.entries(tmp_path, job=dispatch.job_id) if "lost" in entry["event"]
    ]


async def test_nothing_of_a_job_survives_the_agents_kill(gateway: Gateway, tmp_path: Path) -> None:
    """kill -9 of the agent takes the zygote, the namespaces and so the job with it."""
    with trio.fail_after(300):
        async with _node(gateway, tmp_path) as process:
            await _running(gateway, 3600)
            before = _processes_of(process.pid)
            process.kill()
            await process.wait()
            while alive := [pid for pid in before if Path(f"/proc/{pid}").exists()]:
                await trio.testing.wait_all_tasks_blocked(0.01)

    assert len(before) >= 4  # launcher, zygote, supervisor, job
    assert [] == alive


async def test_a_finished_job_is_delivered_before_the_node_ends(gateway: Gateway, tmp_path: Path) -> None:
    """And what it saw of the environment holds neither token nor home."""
    with trio.fail_after(300):
        async with _node(gateway, tmp_path) as process:
            link, _ = await _running(gateway, 1)
            process.send_signal(signal.SIGINT)
            result = await link.get(JobResult)
            await link.say(JobResultAck(attempt_id=result.attempt_id))
            await link.close(1012, "gone before Bye")
            assert 0 == await process.wait()

    assert Outcome.COMPLETED is result.outcome
    assert not {"NODE_JWT", "GATEWAY_URL", "EDGEAGENT_HOME"} & set(result.value)


async def _order(home: Path, *command: str) -> str:
    """Run one of the owner's commands against the node in ``home``, and return what it prints."""
    environ = {**os.environ, "EDGEAGENT_HOME": str(home)}
    done = await trio.run_process([sys.executable, "-m", "edgeagent", *command], env=environ, capture_stdout=True)
    return done.stdout.decode()


async def test_the_owner_drains_a_node_and_waits_for_its_end(gateway: Gateway, tmp_path: Path) -> None:
    """``edgeagent drain --wait`` comes back when the job was given back at the deadline, and the node has ended."""
    with trio.fail_after(60):
        async with _node(gateway, tmp_path) as process, trio.open_nursery() as nursery:
            link, dispatch = await _running(gateway, 3600)
            nursery.start_soon(_order, tmp_path, "drain", "--deadline", "1s", "--wait")
            await link.get(Drain)
            result = await link.get(JobResult)
            await link.say(JobResultAck(attempt_id=result.attempt_id))
            await link.get(Bye)
            await link.say(Bye(reason="goodbye"))
            assert 0 == await process.wait()

    assert (dispatch.attempt_id, Outcome.LOST) == (result.attempt_id, result.outcome)


async def test_a_paused_node_is_paused_after_a_restart(gateway: Gateway, tmp_path: Path) -> None:
    """Until its owner resumes it."""
    with trio.fail_after(90):
        async with _node(gateway, tmp_path) as process:
            link = await gateway.accept()
            await link.welcome()
            await link.get(Heartbeat)
            said = await _order(tmp_path, "pause", "--for", "2h")
            process.kill()
        async with _node(gateway, tmp_path):
            link = await gateway.accept()
            await link.welcome()
            paused = await link.get(Heartbeat)
            await _order(tmp_path, "resume")
            resumed = await link.get(Heartbeat)

    assert "The node is paused until" in said
    assert (0, {"stubborn", "echo", "cpu_benchmark"}) == (paused.free_slots, set(paused.not_now))
    assert ((), True) == (resumed.not_now, resumed.free_slots > 0)


async def test_a_reload_starts_the_same_process_with_new_options(gateway: Gateway, tmp_path: Path) -> None:
    """What is wrong with the options is said instead, and the node goes on with the old ones."""
    with trio.fail_after(90):
        async with _node(gateway, tmp_path) as process:
            link = await gateway.accept()
            first = await link.welcome()
            (tmp_path / "config.toml").write_text("[share]\nslots = 0\n")
            process.send_signal(signal.SIGHUP)
            while b"Not reloaded" not in await process.stderr.receive_some():
                pass
            (tmp_path / "config.toml").write_text("[share]\nslots = 7\n")
            process.send_signal(signal.SIGHUP)
            await link.get(Drain)
            await link.get(Bye)
            await link.say(Bye(reason="goodbye"))
            second = await (await gateway.accept()).welcome()

    assert (7, True) == (second.slots, first.slots != 7)


def _processes_of(pid: int) -> list[int]:
    """Return the pids of everything that descends from ``pid``."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_processes_of(child)]
    return found

"""Attempts in the real sandbox, with the real plugins and some that misbehave."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from edgeagent.node.executor import Finished
from edgeagent.node.sandboxed import SandboxExecutor, zygote_for
from edgeagent.wire.messages import JobDispatch, JobProgress, Limits, Outcome
from edgesandbox import SetupFailed
from edgesandbox.box import Box

pytestmark = pytest.mark.needs("sandbox")

PLUGINS = """
import os, signal, sys, threading, time
from edgeagent.plugins import BaseWorkerPlugin, RejectJob, WorkerResult, current_job


class Misbehave(BaseWorkerPlugin):
    job_type = "misbehave"

    async def execute(self, job_id, payload):
        return getattr(self, payload["how"])(payload)

    def raises(self, payload):
        raise ValueError("not this scene")

    def rejects(self, payload):
        raise RejectJob("scene_url is missing")

    def says_failed(self, payload):
        return WorkerResult(success=False, error="no licence")

    def returns_a_dict(self, payload):
        return {"success": True}

    def exits(self, payload):
        os._exit(3)

    def crashes(self, payload):
        os.kill(os.getpid(), signal.SIGSEGV)

    def sleeps(self, payload):
        current_job().progress(0.5, "half way")
        time.sleep(3600)

    def ignores_sigterm(self, payload):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", flush=True)
        time.sleep(3600)

    def prints(self, payload):
        for number in range(payload["lines"]):
            print(number, "x" * 80)
        return WorkerResult(success=True)

    def prints_odd_bytes(self, payload):
        os.write(1, b"bad \\xff byte\\n\\x1b[31mred\\n" + b"y" * 5000 + b"\\nno newline")
        return WorkerResult(success=True)

    def takes_memory(self, payload):
        kept = []
        while True:
            kept.append(b"x" * (1 << 20))

    def fills_its_disk(self, payload):
        for number in range(payload["files"]):
            with open(f"large {number}", "wb", buffering=0) as file:
                for _ in range(payload["mebibytes"]):
                    file.write(b"x" * (1 << 20))

    def leaves_files(self, payload):
        for name in payload["names"]:
            (current_job().output_dir / name).write_bytes(name.encode() * 1000)
        return WorkerResult(success=True, value={"files": len(payload["names"])}, result_ref="s3://x")

    def leaves_a_link(self, payload):
        (current_job().output_dir / "passwd").symlink_to("/etc/passwd")
        return WorkerResult(success=True)

    def garbles(self, payload):
        for fd in range(3, 64):
            try:
                os.write(fd, b"no result\\n")
            except OSError:
                pass
        time.sleep(3600)
"""


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxExecutor]:
    """An executor over a zygote that knows the plugin file above."""
    plugin_dir = tmp_path_factory.mktemp("home") / "plugins"
    plugin_dir.mkdir()
    (plugin_dir / "misbehave.py").write_text(PLUGINS)
    with zygote_for(plugin_dir) as zygote:
        yield SandboxExecutor(zygote)


class Bench:
    """Runs one attempt and keeps what it showed."""

    def __init__(self, executor: SandboxExecutor, outputs: Path) -> None:
        self._executor = executor
        self.outputs = outputs
        self.shown: list[JobProgress] = []
        self.saw = trio.Event()
        self.stop = trio.Event()

    async def run(self, job_type: str, payload: dict[str, Any], **limits: Any) -> Finished:
        dispatch = JobDispatch(
            job_id=str(uuid.uuid4()),
            attempt_id=str(uuid.uuid4()),
            job_type=job_type,
            payload=payload,
            limits=Limits(**limits),
        )
        with trio.fail_after(60):
            return await self._executor.run(dispatch, progress=self._show, stop=self.stop, outputs=self.outputs)

    async def misbehave(self, how: str, **payload: Any) -> Finished:
        return await self.run("misbehave", {"how": how, **payload})

    def _show(self, message: JobProgress) -> None:
        self.shown.append(message)
        self.saw.set()

    @property
    def lines(self) -> list[str]:
        return [line for message in self.shown for line in message.log]


@pytest.fixture
def bench(executor: SandboxExecutor, tmp_path: Path) -> Bench:
    """One attempt's surroundings."""
    return Bench(executor, tmp_path)


async def test_echo_returns_its_payload(bench: Bench) -> None:
    """The whole way into the sandbox and back, with what held it in."""
    finished = await bench.run("echo", {"hello": "wörld", "n": [1, 2.5, None]})

    assert Outcome.COMPLETED is finished.outcome
    assert {"hello": "wörld", "n": [1, 2.5, None]} == finished.value
    assert finished.sandbox.tier
    assert finished.sandbox.enforced
    assert finished.usage.wall_s > 0


@pytest.mark.parametrize(
    ("how", "outcome", "detail"),
    [
        ("raises", Outcome.FAILED, "ValueError: not this scene"),
        ("rejects", Outcome.REJECTED, "scene_url is missing"),
        ("says_failed", Outcome.FAILED, "no licence"),
        ("returns_a_dict", Outcome.FAILED, "execute() returned dict, not a WorkerResult"),
        ("exits", Outcome.EXITED, "the process exited with code 3 before giving a result"),
        ("crashes", Outcome.SIGNALLED, "the process was killed by SIGSEGV"),
        (
            "leaves_a_link",
            Outcome.FAILED,
            "the output files cannot be taken: output passwd cannot be read: it is a",
        ),
        ("garbles", Outcome.FAILED, "the job's process said something that is not a result"),
    ],
)
async def test_a_misbehaving_plugin_is_one_clear_line(bench: Bench, how: str, outcome: Outcome, detail: str) -> None:
    """The submitter reads why; the node goes on."""
    finished = await bench.misbehave(how)

    assert (outcome, True) == (finished.outcome, finished.detail.startswith(detail)), finished.detail
    assert finished.value is None
    assert "\n" not in finished.detail


async def test_the_wall_clock_limit_kills(bench: Bench) -> None:
    """And what the job had said before is shown."""
    finished = await bench.run("misbehave", {"how": "sleeps"}, wall_s=1.0)

    assert Outcome.TIMEOUT is finished.outcome
    assert "killed after 1 s (wall-clock limit)" == finished.detail
    assert (0.5, "half way") == (bench.shown[0].fraction, bench.shown[0].text)
    assert 0.9 < finished.usage.wall_s < 10


@pytest.mark.parametrize(
    ("payload", "limits", "outcome", "detail", "printed"),
    [
        (
            {"how": "takes_memory"},
            {"memory_bytes": 200 << 20},
            Outcome.MEMORY_LIMIT,
            "ended at 200 MiB of memory (memory limit)",
            "MemoryError",
        ),
        (
            {"how": "fills_its_disk", "files": 3, "mebibytes": 4},
            {"scratch_bytes": 8 << 20},
            Outcome.DISK_LIMIT,
            "ended at 8.0 MiB of files (disk limit)",
            "No space left on device",
        ),
        (
            {"how": "fills_its_disk", "files": 1, "mebibytes": 9},
            {"scratch_bytes": 8 << 20},
            Outcome.DISK_LIMIT,
            "ended at 8.0 MiB of files (disk limit)",
            "File too large",
        ),
    ],
    ids=["memory", "disk", "file"],
)
async def test_a_plugin_that_meets_a_limit_has_not_failed_by_itself(
    bench: Bench, payload: dict[str, Any], limits: dict[str, int], outcome: Outcome, detail: str, printed: str
) -> None:
    """To the plugin it is an exception like others; the submitter has to know that it was the limit."""
    finished = await bench.run("misbehave", payload, **limits)

    assert (outcome, detail) == (finished.outcome, finished.detail)
    assert any(printed in line for line in bench.lines)


async def test_a_stopped_job_ends_as_cancelled(bench: Bench, nursery: trio.Nursery) -> None:
    """SIGTERM is enough for most."""

    async def stop() -> None:
        await bench.saw.wait()
        bench.stop.set()

    nursery.start_soon(stop)

    assert Outcome.CANCELLED is (await bench.misbehave("sleeps")).outcome


async def test_a_job_that_ignores_sigterm_is_stopped_all_the_same(bench: Bench, nursery: trio.Nursery) -> None:
    """Two seconds, then SIGKILL."""

    async def stop() -> None:
        await bench.saw.wait()
        bench.stop.set()

    nursery.start_soon(stop)

    assert Outcome.CANCELLED is (await bench.misbehave("ignores_sigterm")).outcome


async def test_cancelling_the_attempt_kills_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second signal does not wait for anybody's grace: the job is not asked to end, it is ended."""
    asked: list[Box] = []
    monkeypatch.setattr(Box, "cancel", asked.append)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.misbehave, "ignores_sigterm")
            await bench.saw.wait()
            nursery.cancel_scope.cancel()

    assert asked == []


async def test_megabytes_of_output_are_bounded(bench: Bench) -> None:
    """The job completes; most lines are counted instead of kept."""
    finished = await bench.misbehave("prints", lines=50_000)

    assert Outcome.COMPLETED is finished.outcome
    assert all(len(message.log) <= 100 for message in bench.shown)
    assert len(bench.shown) < 200
    assert any("lines left out" in line for line in bench.lines)
    assert bench.lines[-1].startswith("49999 ")


async def test_more_than_the_output_limit_ends_the_job(bench: Bench) -> None:
    """Eight megabytes by default, stdout and stderr together."""
    finished = await bench.run("misbehave", {"how": "prints", "lines": 1_000_000}, output_bytes=1 << 20)

    assert Outcome.OUTPUT_LIMIT is finished.outcome
    assert "killed after printing 1.0 MiB (output limit)" == finished.detail


async def test_odd_output_is_made_printable(bench: Bench) -> None:
    """No byte of a job reaches somebody's terminal as a control character."""
    await bench.misbehave("prints_odd_bytes")

    assert ["bad \N{REPLACEMENT CHARACTER} byte", " [31mred", "y" * 1000, "no newline"] == bench.lines


async def test_output_files_are_copied_and_listed(bench: Bench) -> None:
    """In the order of their names, under their position, with size and digest."""
    finished = await bench.misbehave("leaves_files", names=["b.png", "a b.txt"])

    assert Outcome.COMPLETED is finished.outcome
    assert "s3://x" == finished.result_ref
    expected = [(name, name.encode() * 1000) for name in ("a b.txt", "b.png")]
    assert [(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in expected] == [
        (output.name, output.size_bytes, output.sha256) for output in finished.outputs
    ]
    assert [data for _, data in expected] == [(bench.outputs / str(number)).read_bytes() for number in range(2)]


async def test_an_impossible_payload_is_rejected(bench: Bench) -> None:
    """Deeper than the channel takes; the wire's own limit is a little higher."""
    payload: dict[str, Any] = {}
    for _ in range(61):
        payload = {"in": payload}

    finished = await bench.run("echo", payload)

    assert Outcome.REJECTED is finished.outcome
    assert "nested deeper" in finished.detail


async def test_a_job_with_the_usual_limits_starts_in_a_box_that_was_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs though no box can be built any more."""

    def refuse(_spec: object) -> None:
        raise SetupFailed("not today")

    with zygote_for(tmp_path / "plugins", warm=1) as zygote:
        with trio.fail_after(30):
            while not zygote.ready:  # noqa: ASYNC110 - another thread is at work
                await trio.sleep(0.01)
        monkeypatch.setattr(zygote, "_build", refuse)

        finished = await Bench(SandboxExecutor(zygote), tmp_path).run("echo", {"warm": True})

    assert {"warm": True} == finished.value


async def test_a_killed_zygote_is_replaced(tmp_path: Path) -> None:
    """Whatever killed it, the next job runs."""
    with zygote_for(tmp_path / "plugins") as zygote:
        process = zygote._process
        assert process is not None
        process.kill()
        process.wait()

        finished = await Bench(SandboxExecutor(zygote), tmp_path).run("echo", {"again": True})

    assert {"again": True} == finished.value

"""A node on a disk that really fills: a small file system of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from edgeagent.node.attempts import Attempts
from edgeagent.node.cache import Cache
from edgeagent.node.disk import Disk
from edgeagent.node.executor import Finished
from edgeagent.node.gate import Gate
from edgeagent.node.outbox import Outbox
from edgeagent.node.room import Rules
from edgeagent.node.sandboxed import SandboxExecutor, zygote_for
from edgeagent.node.spool import open_spool
from edgeagent.node.willingness import Code
from edgeagent.wire.messages import JobAccept, JobDecline, JobDispatch, JobResult, Limits, Outcome, Reference

pytestmark = pytest.mark.needs("root")
MIB = 1 << 20
NODE_ID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    path = tmp_path / "home"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "a-test", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(home: Path, leave_bytes: int) -> Path:
    """Another program writes until so much is left."""
    about = os.statvfs(home)
    size = max(0, about.f_bavail * about.f_frsize - leave_bytes)
    path = home / f"other-{uuid.uuid4()}"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size or 1)
    return path


def free(home: Path) -> int:
    about = os.statvfs(home)
    return about.f_bavail * about.f_frsize


def put(cache: Cache, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    cache.expect(sha256, len(data))
    partial = cache.partial(sha256)
    partial.begin(0, None)
    partial.append(data)
    return cache.keep(partial)


@pytest.fixture
def cache(home: Path) -> Cache:
    """An empty one."""
    cache = Cache(home, 40 * MIB)
    cache.open()
    return cache


@pytest.fixture
def disk(home: Path, cache: Cache) -> Disk:
    """With a floor of 8 MiB."""
    return Disk(home, Rules(floor_bytes=8 * MIB, cache_bytes=40 * MIB, spool_bytes=20 * MIB), cache)


def dispatch(**fields: Any) -> JobDispatch:
    ids = {"job_id": str(uuid.uuid4()), "attempt_id": str(uuid.uuid4())}
    limits = Limits(scratch_bytes=4 * MIB, memory_bytes=256 * MIB)
    return JobDispatch(**{**ids, "job_type": "echo", "limits": limits, **fields})


def test_a_job_is_refused_when_its_files_would_not_fit(disk, home):
    """What it may leave and what it needs, above the floor; with room again it is taken."""
    assert None is disk.refuse(dispatch())
    other = fill(home, 11 * MIB)

    assert "the disk is nearly full" in disk.refuse(dispatch())
    assert None is disk.refuse()
    inputs = {"f": Reference(ref="https://a.example/f", sha256="0" * 64, size_bytes=5 * MIB)}
    other.unlink()
    assert None is disk.refuse(dispatch(inputs=inputs))
    fill(home, 14 * MIB)
    assert None is disk.refuse(dispatch())
    assert "the disk is nearly full" in disk.refuse(dispatch(inputs=inputs))


def test_what_is_in_the_cache_needs_no_room(disk, home, cache):
    """Nor does what several names stand for."""
    sha256 = put(cache, b"x" * (10 * MIB))
    cache.pin(sha256)
    reference = Reference(ref="https://a.example/f", sha256=sha256, size_bytes=10 * MIB)
    fill(home, 13 * MIB)

    assert None is disk.refuse(dispatch(inputs={"a": reference, "b": reference}))


async def test_the_cache_gives_way_to_other_programs(disk, home, cache, nursery):
    """Up to the floor: the least lately used first, and nothing that is in use."""
    used, *others = (put(cache, bytes([number]) * (8 * MIB)) for number in range(4))
    cache.pin(used)
    fill(home, 2 * MIB)

    with capture_logs() as logs:
        nursery.start_soon(disk.run, Gate())
        with trio.fail_after(30):
            while cache.used_bytes > 24 * MIB:  # noqa: ASYNC110 (a thread does it)
                await trio.sleep(0.01)
            while not logs:  # noqa: ASYNC110
                await trio.sleep(0.01)

    assert free(home) >= 8 * MIB
    assert [True, False] == [cache.holds(name) for name in (used, others[0])]
    assert "Cache made smaller: the disk is nearly full" == logs[0]["event"]
    assert None is disk.warning


async def test_a_full_disk_is_said(disk, home, nursery, monkeypatch):
    """Once when it fills, once when there is room again; meanwhile it stands against every job."""
    monkeypatch.setattr("edgeagent.node.disk.LOOK_EVERY_S", 0.01)
    gate = Gate()
    other = fill(home, MIB)
    with capture_logs() as logs, trio.fail_after(30):
        nursery.start_soon(disk.run, gate)
        await gate.changed.wait()
        (reason,) = gate.general()
        assert (Code.DISK, disk.warning) == (reason.code, reason.text)
        assert "the disk is nearly full" in reason.text
        assert ("echo",) == gate.closed(("echo",))
        other.unlink()
        await gate.changed.wait()

    assert () == gate.general()
    assert disk.warning is None
    assert ["No jobs are taken", "Jobs are taken again"] == [each["event"] for each in logs]


class StandIn:
    """Ends each attempt when the test says so."""

    tier = "stand-in"

    def __init__(self) -> None:
        self.let_go = trio.Event()

    async def run(self, job: JobDispatch, **_: Any) -> Finished:
        await self.let_go.wait()
        return Finished(outcome=Outcome.COMPLETED, value="x" * 100_000)


@attrs.define(eq=False)
class Node:
    """Attempts over a real spool on that disk."""

    attempts: Attempts
    outbox: Outbox
    executor: Any
    delivered: list[JobResult]


@contextlib.asynccontextmanager
async def node_on(home: Path, disk: Disk, executor: Any):
    outbox, delivered = Outbox(), []
    outbox.open()
    async with open_spool(home, NODE_ID) as spool, trio.open_nursery() as nursery:
        attempts = Attempts(
            *(nursery, executor, spool, outbox),
            slots=4,
            announced=("echo", "cpu_benchmark", "leaves"),
            deliver=delivered.append,
            refuse=disk.refuse,
            relieve=disk.relieve,
        )
        disk.count(lambda: attempts.dispatches, lambda: 0)
        yield Node(attempts, outbox, executor, delivered)
        await attempts.idle()


async def test_a_job_that_does_not_fit_is_declined_with_the_reason(home, disk):
    """And the node says that it has no free slot, so that it is not asked for nothing."""
    fill(home, 11 * MIB)
    async with node_on(home, disk, StandIn()) as node:
        node.attempts.take(dispatch())
        (said,) = await node.outbox.take()
        assert 4 == node.attempts.free_slots
        fill(home, 4 * MIB)
        assert 0 == node.attempts.free_slots

    assert isinstance(said, JobDecline)
    assert said.reason.startswith("the disk is nearly full")


async def test_what_running_jobs_may_still_write_is_set_aside(home, disk):
    """Four of them fit, one by one; together only two do."""
    fill(home, 17 * MIB)
    async with node_on(home, disk, executor := StandIn()) as node:
        for _ in range(4):
            node.attempts.take(dispatch())
        said = []
        with trio.fail_after(30):
            while len(said) < 4:
                said += await node.outbox.take()
        executor.let_go.set()

    assert [JobDecline] * 2 + [JobAccept] * 2 == sorted(map(type, said), key=lambda kind: kind is JobAccept)


async def test_a_result_finds_room_on_a_full_disk(home, disk, cache):
    """Another program has filled it while the job ran: the cache gives way, and the result is on disk."""
    put(cache, b"x" * (16 * MIB))
    async with node_on(home, disk, executor := StandIn()) as node:
        node.attempts.take(job := dispatch())
        await node.outbox.take()
        fill(home, 0)
        executor.let_go.set()

    assert [Outcome.COMPLETED] == [result.outcome for result in node.delivered]
    async with open_spool(home, NODE_ID) as spool:
        (stored,) = await spool.recover()
    assert (job.attempt_id, Outcome.COMPLETED, "x" * 100_000) == (stored.attempt_id, stored.outcome, stored.value)
    assert 0 == cache.used_bytes


async def test_a_result_that_finds_none_is_delivered_all_the_same(home, disk):
    """From memory: it is lost only if the node is killed before the gateway has it."""
    async with node_on(home, disk, executor := StandIn()) as node:
        node.attempts.take(dispatch())
        await node.outbox.take()
        fill(home, 0)
        with capture_logs() as logs:
            executor.let_go.set()
            with trio.fail_after(30):
                await node.attempts.idle()

    assert [Outcome.COMPLETED] == [result.outcome for result in node.delivered]
    assert "Spool not written" in [each["event"] for each in logs]


LEAVES = """
from edgeagent.plugins import BaseWorkerPlugin, WorkerResult, current_job

class Leaves(BaseWorkerPlugin):
    job_type = "leaves"

    async def execute(self, job_id, payload):
        (current_job().output_dir / "big").write_bytes(b"y" * (3 << 20))
        return WorkerResult(success=True)
"""


@pytest.mark.needs("sandbox")
async def test_output_files_find_room_on_a_full_disk(home, disk, cache, tmp_path):
    """The real sandbox's, copied into the spool once the cache has given way."""
    put(cache, b"x" * (16 * MIB))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "leaves.py").write_text(LEAVES)
    with contextlib.ExitStack() as stack:
        start = lambda: stack.enter_context(zygote_for(tmp_path / "plugins", warm=0))  # noqa: E731
        executor = SandboxExecutor(await trio.to_thread.run_sync(start))
        executor.make_room = disk.make_room
        async with node_on(home, disk, executor) as node:
            node.attempts.take(job := dispatch(job_type="leaves"))
            await node.outbox.take()
            fill(home, 0)

    (result,) = node.delivered
    assert (Outcome.COMPLETED, "") == (result.outcome, result.detail)
    (output,) = result.outputs
    stored = home / "spool" / "outputs" / job.attempt_id / "0"
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == output.sha256

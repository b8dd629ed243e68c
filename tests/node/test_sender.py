"""Delivery of results on a virtual clock: the wire and the disk are the test's."""

from __future__ import annotations

import random
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio.testing import MockClock

from edgeagent.errors import RefusedError, UnreachableError
from edgeagent.node.outbox import Outbox
from edgeagent.node.sender import Sender
from edgeagent.wire.messages import JobProgress, JobResult, JobResultAck, Outcome, Output

OUTPUT = Output(name="x.png", size_bytes=3, sha256="0" * 64)
RESULT = JobResult(job_id="j", attempt_id="a", outcome=Outcome.COMPLETED, value=1, outputs=(OUTPUT,))
ACK = JobResultAck(attempt_id="a", credited_ucr=5)


class _Largest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


class Bench:
    """A sender with everything around it in the test's hands; also its shelf."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.outbox = Outbox()
        self.sender = Sender(nursery, self.outbox, self, self.upload, _Largest())
        self.uploads: list[tuple[float, str, Path]] = []
        self.faults: list[Exception] = []
        self.stored: list[JobResult] = []
        self.dropped: list[str] = []

    async def upload(self, attempt_id: str, output: Output, path: Path) -> None:
        await trio.lowlevel.checkpoint()
        self.uploads.append((trio.current_time(), output.name, path))
        if self.faults:
            raise self.faults.pop(0)

    def outputs(self, attempt_id: str) -> Path:
        return Path("/spool", attempt_id)

    async def finish(self, result: JobResult) -> None:
        await trio.lowlevel.checkpoint()
        self.stored.append(result)

    async def drop(self, attempt_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self.dropped.append(attempt_id)


@pytest.fixture
async def bench(nursery: trio.Nursery) -> Bench:
    """A sender in a nursery that ends with the test."""
    return Bench(nursery)


async def test_files_first_then_the_result_then_forgotten(autojump_clock: MockClock, bench: Bench) -> None:
    """The gateway completes no job whose files it does not have."""
    bench.outbox.open()

    bench.sender.deliver(RESULT)
    said = await bench.outbox.take()

    assert [RESULT] == said
    assert [("x.png", Path("/spool/a/0"))] == [upload[1:] for upload in bench.uploads]
    assert [] == bench.dropped
    bench.sender.acknowledged(ACK)
    await bench.sender.flushed()
    assert ["a"] == bench.dropped


async def test_a_result_is_said_again_on_the_next_link(autojump_clock: MockClock, bench: Bench) -> None:
    """Until it is acknowledged, however often the link is lost; the files are not sent again."""
    bench.sender.deliver(RESULT)
    for _ in range(3):
        bench.outbox.open()
        assert [RESULT] == await bench.outbox.take()
        bench.outbox.close()
        bench.sender.link_lost()

    assert ["a"] == list(bench.sender)
    assert 1 == len(bench.uploads)


async def test_a_result_waits_for_a_welcome_however_many_greetings_fail(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """A link that is lost before the gateway's Welcome was never open: closing it must not lose those who wait."""
    bench.sender.deliver(RESULT)
    await trio.testing.wait_all_tasks_blocked()

    bench.outbox.close()
    bench.outbox.open()

    with trio.fail_after(1):
        assert [RESULT] == await bench.outbox.take()


async def test_a_result_without_acknowledgement_is_said_again_after_30_seconds(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """A gateway that stands but did not answer may have failed to store it."""
    bench.outbox.open()
    bench.sender.deliver(RESULT)
    await bench.outbox.take()
    first = trio.current_time()

    assert [RESULT] == await bench.outbox.take()
    assert 30 == trio.current_time() - first


async def test_nothing_is_said_without_a_link(autojump_clock: MockClock, bench: Bench) -> None:
    """But the files go up meanwhile: they have a way of their own."""
    bench.sender.deliver(RESULT)
    await trio.sleep(1000)

    assert 1 == len(bench.uploads)
    with trio.move_on_after(1000) as waited:
        await bench.outbox.take()
    assert waited.cancelled_caught


async def test_uploads_are_repeated_with_growing_waits(autojump_clock: MockClock, bench: Bench) -> None:
    """A gateway that is restarting, or a line that is down."""
    bench.outbox.open()
    bench.faults = [UnreachableError("down") for _ in range(3)]

    bench.sender.deliver(RESULT)
    assert [RESULT] == await bench.outbox.take()

    times = [upload[0] - bench.uploads[0][0] for upload in bench.uploads]
    assert [0, 1, 3, 7] == times


@pytest.mark.parametrize("fault", [RefusedError("too large"), FileNotFoundError(2, "No such file")])
async def test_files_that_cannot_be_delivered_make_the_result_a_failure(
    autojump_clock: MockClock, bench: Bench, fault: Exception
) -> None:
    """Said to the gateway with the reason, and noted on disk before."""
    bench.outbox.open()
    bench.faults = [fault]

    bench.sender.deliver(RESULT)
    (said,) = await bench.outbox.take()

    assert isinstance(said, JobResult)
    assert (Outcome.SETUP_FAILED, None, ()) == (said.outcome, said.value, said.outputs)
    assert "'x.png' could not be delivered" in said.detail
    assert [said] == bench.stored


async def test_the_last_progress_goes_before_the_result(autojump_clock: MockClock, bench: Bench) -> None:
    """After the result nobody would read it."""
    bench.outbox.open()
    progress = JobProgress(attempt_id="a", fraction=1.0, log=("bye",))

    bench.outbox.progress(progress)
    bench.outbox.say(RESULT)

    assert [progress] == await bench.outbox.take()
    assert [RESULT] == await bench.outbox.take()


async def test_an_unknown_acknowledgement_is_ignored(autojump_clock: MockClock, bench: Bench) -> None:
    """One that comes twice, for example."""
    bench.outbox.open()
    bench.sender.deliver(RESULT)
    await bench.outbox.take()

    bench.sender.acknowledged(attrs.evolve(ACK, attempt_id="b"))
    bench.sender.acknowledged(ACK)
    bench.sender.acknowledged(ACK)
    await bench.sender.flushed()
    bench.sender.acknowledged(ACK)

    assert ["a"] == bench.dropped


async def test_a_disk_that_fails_does_not_stop_the_node(autojump_clock: MockClock, bench: Bench) -> None:
    """The row is removed when that works again; after a crash before, the result is said and acknowledged once more."""
    faults = [OSError(28, "No space left on device") for _ in range(3)]
    forgotten = trio.Event()

    async def drop(attempt_id: str) -> None:
        if faults:
            raise faults.pop()
        forgotten.set()

    bench.drop = drop  # type: ignore[method-assign]
    bench.outbox.open()
    bench.sender.deliver(RESULT)
    await bench.outbox.take()

    with capture_logs() as logs:
        bench.sender.acknowledged(ACK)
        await bench.sender.flushed()

    assert "Spool not written" in [entry["event"] for entry in logs]
    assert [] == list(bench.sender)
    with trio.fail_after(1000):
        await forgotten.wait()

"""The jobs ring with a stand-in for the sandbox."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from edgeagent.node.attempts import Attempts
from edgeagent.node.executor import Finished
from edgeagent.node.outbox import Outbox
from edgeagent.node.slots import NO_GPUS, GpuRules
from edgeagent.wire.messages import JobAccept, JobDecline, JobDispatch, JobProgress, JobResult, Limits, Outcome


def _dispatch(job_type: str = "echo") -> JobDispatch:
    return JobDispatch(job_id=str(uuid.uuid4()), attempt_id=str(uuid.uuid4()), job_type=job_type)


class Bench:
    """Attempts whose sandbox and disk are the test's; also both of these."""

    def __init__(self, nursery: trio.Nursery, slots: int = 2, gpus: GpuRules = NO_GPUS) -> None:
        self.outbox = Outbox()
        self.outbox.open()
        self.steps: list[tuple[str, str]] = []
        self.delivered: list[JobResult] = []
        self.gpus: list[tuple[str, ...]] = []
        self.finish_now = trio.Event()
        self.finished = Finished(outcome=Outcome.COMPLETED, value=1)
        self.disk_fault: Exception | None = None
        self.attempts = Attempts(
            nursery,
            self,
            self,
            self.outbox,
            slots=slots,
            announced=("echo",),
            deliver=self.delivered.append,
            gpus=gpus,
        )

    tier = "B"

    async def run(
        self,
        dispatch: JobDispatch,
        *,
        progress: Callable[[JobProgress], None],
        stop: trio.Event,
        outputs: Path,
        gpus: tuple[str, ...],
    ) -> Finished:
        self.steps.append(("run", dispatch.attempt_id))
        self.gpus.append(gpus)
        async with trio.open_nursery() as nursery:

            async def until(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(until, stop)
            nursery.start_soon(until, self.finish_now)
        if stop.is_set():
            return attrs.evolve(self.finished, outcome=Outcome.CANCELLED, detail="killed")
        return self.finished

    def outputs(self, attempt_id: str) -> Path:
        return Path("/spool", attempt_id)

    async def begin(self, dispatch: JobDispatch) -> None:
        await trio.lowlevel.checkpoint()
        if self.disk_fault is not None:
            raise self.disk_fault
        self.steps.append(("begin", dispatch.attempt_id))

    async def finish(self, result: JobResult) -> None:
        await trio.lowlevel.checkpoint()
        if self.disk_fault is not None:
            raise self.disk_fault
        self.steps.append(("finish", result.attempt_id))

    async def drop(self, attempt_id: str) -> None:
        raise AssertionError("only the sender drops")


@pytest.fixture
async def bench(nursery: trio.Nursery) -> Bench:
    """Two slots for echo."""
    return Bench(nursery)


async def test_noted_then_accepted_then_run_then_stored_then_delivered(autojump_clock: MockClock, bench: Bench) -> None:
    """This order is what makes a crash at any point harmless."""
    dispatch = _dispatch()

    bench.attempts.take(dispatch)
    said = await bench.outbox.take()
    assert [("begin", dispatch.attempt_id)] == bench.steps[:1]
    bench.finish_now.set()
    await bench.attempts.idle()

    assert [JobAccept(attempt_id=dispatch.attempt_id)] == said
    assert ["begin", "run", "finish"] == [step for step, _ in bench.steps]
    (result,) = bench.delivered
    assert (dispatch.job_id, dispatch.attempt_id, Outcome.COMPLETED, 1) == (
        result.job_id,
        result.attempt_id,
        result.outcome,
        result.value,
    )


async def test_an_attempt_runs_once_however_often_it_is_dispatched(autojump_clock: MockClock, bench: Bench) -> None:
    """While it runs and after it has ended; a repetition is not declined either."""
    dispatch = _dispatch()
    bench.attempts.take(dispatch)
    bench.attempts.take(dispatch)
    await trio.testing.wait_all_tasks_blocked()
    bench.finish_now.set()
    await bench.attempts.idle()

    bench.attempts.take(dispatch)
    await trio.testing.wait_all_tasks_blocked()

    assert 1 == [step for step, _ in bench.steps].count("run")
    assert [JobAccept(attempt_id=dispatch.attempt_id)] == await bench.outbox.take()
    with trio.move_on_after(1) as waited:
        await bench.outbox.take()
    assert waited.cancelled_caught


async def test_slots_load_and_declines(autojump_clock: MockClock, bench: Bench) -> None:
    """Two run, the third goes back with the reason."""
    dispatches = [_dispatch() for _ in range(3)]
    for dispatch in dispatches:
        bench.attempts.take(dispatch)
    await trio.testing.wait_all_tasks_blocked()

    assert (1.0, 0, 2) == (bench.attempts.load, bench.attempts.free_slots, len(bench.attempts.running))
    declined = [message for message in await bench.outbox.take() if isinstance(message, JobDecline)]
    assert [dispatches[2].attempt_id] == [message.attempt_id for message in declined]


async def test_a_cancelled_attempt_ends_with_the_gateways_reason(autojump_clock: MockClock, bench: Bench) -> None:
    """And frees its slot."""
    dispatch = _dispatch()
    bench.attempts.take(dispatch)
    await trio.testing.wait_all_tasks_blocked()

    bench.attempts.cancel(dispatch.attempt_id, "the submitter does not want it any more")
    await bench.attempts.idle()

    (result,) = bench.delivered
    assert (Outcome.CANCELLED, "the submitter does not want it any more") == (result.outcome, result.detail)
    assert 2 == bench.attempts.free_slots


async def test_an_attempt_cancelled_before_it_is_noted_still_ends(autojump_clock: MockClock, bench: Bench) -> None:
    """The cancel may be in the same frame as the dispatch."""
    dispatch = _dispatch()
    bench.attempts.take(dispatch)
    bench.attempts.cancel(dispatch.attempt_id, "not wanted")
    await bench.attempts.idle()

    assert Outcome.CANCELLED is bench.delivered[0].outcome


async def test_what_a_stopping_node_ends_is_lost_not_cancelled(autojump_clock: MockClock, bench: Bench) -> None:
    """So that the gateway gives the job to another node."""
    bench.attempts.take(_dispatch())
    await trio.testing.wait_all_tasks_blocked()

    bench.attempts.stop_all("the node was stopped")
    await bench.attempts.idle()

    assert (Outcome.LOST, "the node was stopped") == (bench.delivered[0].outcome, bench.delivered[0].detail)


async def test_a_job_that_completed_before_the_cancel_stays_completed(autojump_clock: MockClock, bench: Bench) -> None:
    """Work that is done is worth delivering."""
    dispatch = _dispatch()
    bench.attempts.take(dispatch)
    await trio.testing.wait_all_tasks_blocked()
    bench.finish_now.set()
    await trio.testing.wait_all_tasks_blocked()

    bench.attempts.cancel(dispatch.attempt_id, "too late")
    await bench.attempts.idle()

    assert Outcome.COMPLETED is bench.delivered[0].outcome


async def test_without_a_spool_a_job_is_declined(autojump_clock: MockClock, bench: Bench) -> None:
    """A node that could not keep the result does not start the work."""
    bench.disk_fault = OSError(28, "No space left on device")
    bench.attempts.take(_dispatch())
    await bench.attempts.idle()

    (declined,) = await bench.outbox.take()
    assert isinstance(declined, JobDecline)
    assert "No space left on device" in declined.reason
    assert [] == bench.steps


async def test_a_result_that_cannot_be_stored_is_delivered_from_memory(autojump_clock: MockClock, bench: Bench) -> None:
    """The disk filled while the job ran."""
    bench.attempts.take(_dispatch())
    await trio.testing.wait_all_tasks_blocked()
    bench.disk_fault = OSError(28, "No space left on device")
    bench.finish_now.set()
    await bench.attempts.idle()

    assert Outcome.COMPLETED is bench.delivered[0].outcome


@pytest.mark.parametrize(
    ("finished", "event"),
    [
        (Finished(outcome=Outcome.COMPLETED), "Job completed"),
        (Finished(outcome=Outcome.TIMEOUT, detail="killed after 300 s"), "Job failed"),
    ],
)
async def test_log_lines_are_the_guides(
    autojump_clock: MockClock, bench: Bench, finished: Finished, event: str
) -> None:
    """With the job's id and type, and the reason where it failed."""
    bench.finished = finished
    bench.finish_now.set()
    dispatch = _dispatch()

    with capture_logs() as logs:
        bench.attempts.take(dispatch)
        await bench.attempts.idle()

    assert ["Received job_dispatch", event] == [entry["event"] for entry in logs]
    assert all(
        (dispatch.job_id, "echo", "info") == (entry["job_id"], entry["job_type"], entry["log_level"]) for entry in logs
    )
    assert finished.detail == logs[1].get("reason", "")


@pytest.mark.parametrize("fault", [None, OSError("disk full")])
async def test_a_gpu_is_one_attempts_until_that_ends(
    autojump_clock: MockClock, nursery: trio.Nursery, fault: Exception | None
) -> None:
    """The next one is declined meanwhile, and gets it afterwards: also where the first could not even start."""
    bench = Bench(nursery, gpus=GpuRules(uuids=("GPU-1",)))
    first, second, third = (attrs.evolve(_dispatch(), limits=Limits(gpus=1)) for _ in range(3))
    bench.disk_fault = fault

    bench.attempts.take(first)
    bench.attempts.take(second)
    assert ("GPU-1",) == bench.attempts.held_gpus
    bench.finish_now.set()
    await bench.attempts.idle()
    assert () == bench.attempts.held_gpus
    bench.disk_fault = None
    bench.attempts.take(third)
    await bench.attempts.idle()

    declined = [said for said in await bench.outbox.take() if isinstance(said, JobDecline)]
    assert JobDecline(attempt_id=second.attempt_id, reason="the job needs 1 GPUs, and 0 are free") in declined
    assert [("GPU-1",)] * (1 if fault else 2) == bench.gpus

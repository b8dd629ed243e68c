"""What runs when its window ends gets the grace, and then goes back to the gateway; the gateway hears of it at once."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from edgeagent.node import windows
from edgeagent.node.attempts import Attempts
from edgeagent.node.executor import Finished
from edgeagent.node.gate import Gate
from edgeagent.node.outbox import Outbox
from edgeagent.node.schedule import Plan, parse
from edgeagent.node.willingness import Circumstances
from edgeagent.wire.messages import JobDecline, JobDispatch, JobResult, Outcome

START = datetime(2026, 11, 25, 7, 0, tzinfo=UTC).timestamp()
PLAN = Plan(general=parse("18:00-08:00"), by_type={"echo": parse("daily")})
IDS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(9)]
GRACE_S = 300.0


class Patient:
    """Runs each attempt until it is stopped, or for ``work_s`` seconds."""

    tier = "A"

    def __init__(self, work_s: float) -> None:
        self.work_s = work_s

    async def run(self, dispatch: JobDispatch, *, stop: trio.Event, **_: Any) -> Finished:
        with trio.move_on_after(self.work_s):
            await stop.wait()
            return Finished(outcome=Outcome.CANCELLED)
        return Finished(outcome=Outcome.COMPLETED)


class Paper:
    """A spool that keeps nothing."""

    def outputs(self, attempt_id: str) -> Path:
        return Path("/nowhere")

    async def begin(self, dispatch: JobDispatch) -> None:
        await trio.lowlevel.checkpoint()

    finish = begin  # type: ignore[assignment]
    drop = begin  # type: ignore[assignment]


def _wall(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)


class Bench:
    """A node's attempts under the plan, from 07:00 on."""

    def __init__(self, nursery: trio.Nursery, work_s: float) -> None:
        self.begun = trio.current_time()
        self.ended: list[tuple[float, JobResult]] = []
        self.gate = Gate(Circumstances(plan=PLAN, wall=_wall), now=lambda: START + self.hours() * 3600)
        self.outbox = Outbox()
        self.outbox.open()
        self.attempts = Attempts(
            nursery,
            Patient(work_s),
            Paper(),
            self.outbox,
            slots=4,
            announced=("echo", "render"),
            deliver=lambda result: self.ended.append((trio.current_time() - self.begun, result)),
            gate=self.gate,
        )
        nursery.start_soon(functools.partial(windows.run, self.gate, self.attempts, ("echo", "render"), GRACE_S))

    def hours(self) -> float:
        return (trio.current_time() - self.begun) / 3600

    def take(self, number: int, job_type: str) -> None:
        self.attempts.take(JobDispatch(job_id=IDS[number], attempt_id=IDS[number], job_type=job_type))


async def test_at_the_end_of_a_window_jobs_get_the_grace(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The job ends 300 s after 08:00 and is given back; one whose type has no such window runs on."""
    bench = Bench(nursery, work_s=7200)
    bench.take(0, "render")
    bench.take(1, "echo")
    await trio.sleep(5400)

    ((at_s, result),) = bench.ended
    assert 3600 + GRACE_S <= at_s <= 3600 + GRACE_S + 2 * windows.LOOK_S
    assert (IDS[0], Outcome.LOST, windows.CLOSED) == (result.attempt_id, result.outcome, result.detail)
    assert (IDS[1],) == bench.attempts.running


async def test_what_ends_in_time_is_delivered(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Work that needs no more than the grace is not thrown away."""
    bench = Bench(nursery, work_s=3600 + GRACE_S - 10)
    bench.take(0, "render")
    await trio.sleep(5400)

    assert [Outcome.COMPLETED] == [result.outcome for _, result in bench.ended]


async def test_what_a_window_forbids_is_not_taken(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """It goes back to the queue with the reason, and is taken when the window is open."""
    bench = Bench(nursery, work_s=1)
    await trio.sleep(3600)
    bench.take(0, "render")
    await trio.sleep(10 * 3600)
    bench.take(1, "render")
    await trio.sleep(2)

    (declined,) = [said for said in await bench.outbox.take() if isinstance(said, JobDecline)]
    assert (IDS[0], "the schedule has no window for 'render' now") == (declined.attempt_id, declined.reason)
    assert [IDS[1]] == [result.attempt_id for _, result in bench.ended]


async def test_the_gateway_hears_when_a_window_ends(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Whoever waits for a change of the gate is woken within seconds."""
    bench = Bench(nursery, work_s=1)
    await bench.gate.changed.wait()

    assert 1.0 <= bench.hours() <= 1.0 + 2 * windows.LOOK_S / 3600
    assert ("render",) == bench.gate.closed(("echo", "render"))

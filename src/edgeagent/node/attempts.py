"""The jobs ring: one task per attempt, from the dispatch to the result in the spool.

An attempt id runs at most once here, whatever the gateway repeats.  The order is what makes it safe: noted in the
spool, then accepted, then run, then the result in the spool, then handed to the sender.
"""

from __future__ import annotations

import functools
import sqlite3
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import attrs
import structlog
import trio

from edgeagent.node import slots as slot_rules
from edgeagent.node.ceilings import Ceilings
from edgeagent.node.executor import Executor, Finished
from edgeagent.node.gate import Gate
from edgeagent.node.outbox import Outbox
from edgeagent.node.slots import NO_GPUS, Decline, GpuRules, Take
from edgeagent.node.snapshot import Failure, RunningAttempt
from edgeagent.wire.messages import JobAccept, JobDecline, JobDispatch, JobProgress, JobResult, Outcome

log = structlog.get_logger()

#: Ended attempts that are remembered, so that a repeated dispatch is known for one.
_REMEMBERED = 10_000
#: Failures that are kept for the owner to see.
_FAILURES = 10


class Refuse(Protocol):
    """Says why an attempt, or any, is not to be taken now, in one line; None where it is."""

    def __call__(self, dispatch: JobDispatch | None = None, /) -> str | None:
        """Return at once."""
        ...


def nothing_short(dispatch: JobDispatch | None = None, /) -> str | None:
    """Refuse nothing."""
    return None


class Ledger(Protocol):
    """What the attempts need of the spool."""

    def outputs(self, attempt_id: str) -> Path:
        """Return where output files go."""
        ...

    async def begin(self, dispatch: JobDispatch) -> None:
        """Note that an attempt runs."""

    async def finish(self, result: JobResult) -> None:
        """Put its result on disk."""

    async def drop(self, attempt_id: str) -> None:
        """Forget it."""


@attrs.define(eq=False)
class _Running:
    dispatch: JobDispatch
    gpus: tuple[str, ...] = ()
    started: float = attrs.field(factory=trio.current_time)
    progress: JobProgress | None = None
    stop: trio.Event = attrs.field(factory=trio.Event)
    stop_outcome: Outcome = Outcome.CANCELLED
    stop_reason: str = ""


class Attempts:
    """All attempts of this node; ``nursery`` is the jobs ring's.  ``gpus`` may be changed: new attempts go by it."""

    def __init__(
        self,
        nursery: trio.Nursery,
        executor: Executor,
        ledger: Ledger,
        outbox: Outbox,
        *,
        slots: int,
        announced: tuple[str, ...],
        deliver: Callable[[JobResult], None],
        ended: Iterable[str] = (),
        gpus: GpuRules = NO_GPUS,
        fetches: tuple[str, ...] = (),
        refuse: Refuse = nothing_short,
        relieve: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
        ceilings: Ceilings | None = None,
        gate: Gate | None = None,
        note: Callable[[JobDispatch, JobResult], None] = lambda dispatch, result: None,
        printed: Callable[[JobDispatch, Sequence[str]], None] = lambda dispatch, lines: None,
    ) -> None:
        self._nursery = nursery
        self._executor = executor
        self._ledger = ledger
        self._outbox = outbox
        self._slots = slots
        self._announced = announced
        self.gpus = gpus
        self._fetches = fetches
        self._refuse = refuse
        self._relieve = relieve
        self._deliver = deliver
        self._tell = note
        self._printed = printed
        self._running: dict[str, _Running] = {}
        self._change = trio.Event()  # set and replaced when an attempt ends
        self._ended: OrderedDict[str, None] = OrderedDict.fromkeys(ended)
        self._ceilings = ceilings or Ceilings()
        self._gate = gate or Gate()
        self._failures: deque[tuple[float, JobResult, str]] = deque(maxlen=_FAILURES)
        self.completed = self.failed = 0

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the attempts that run."""
        return tuple(self._running)

    @property
    def free_slots(self) -> int:
        """How many more would be taken: none while something else than slots is short."""
        return 0 if self._refuse() else max(0, self._slots - len(self._running))

    @property
    def dispatches(self) -> tuple[JobDispatch, ...]:
        """What the attempts that run were dispatched with."""
        return tuple(running.dispatch for running in self._running.values())

    @property
    def held_gpus(self) -> tuple[str, ...]:
        """What running attempts have of the GPUs, each once for every attempt; given back when it ends, however."""
        return tuple(uuid for running in self._running.values() for uuid in running.gpus)

    @property
    def load(self) -> float:
        """How full the node is, 0 to 1."""
        return slot_rules.load(len(self._running), self._slots)

    def take(self, dispatch: JobDispatch) -> None:
        """Start an attempt, decline it, or ignore a repetition; returns at once."""
        limits = self._ceilings.cap(dispatch.job_type, dispatch.limits, self._slots)
        dispatch = attrs.evolve(dispatch, limits=limits)
        decision = slot_rules.decide(
            dispatch,
            running=self._running,
            known=self._ended,
            slots=self._slots,
            announced=self._announced,
            gpus=self.gpus,
            held=self.held_gpus,
            fetches=self._fetches,
        )
        if isinstance(decision, Take) and (reason := self._forbidden(dispatch) or self._refuse(dispatch)):
            decision = Decline(reason)
        fields = {"job_id": dispatch.job_id, "attempt_id": dispatch.attempt_id, "job_type": dispatch.job_type}
        match decision:
            case Take(gpus):
                log.info("Received job_dispatch", **fields, **({"gpus": gpus} if gpus else {}))
                running = self._running[dispatch.attempt_id] = _Running(dispatch, gpus)
                self._nursery.start_soon(self._run, running)
            case Decline(reason):
                self.decline(dispatch, reason)
            case _:
                log.debug("Repeated job_dispatch ignored", **fields)

    def _forbidden(self, dispatch: JobDispatch) -> str | None:
        against = self._gate.against(dispatch.job_type)
        if against:
            return "; ".join(reason.text for reason in against)
        return self._ceilings.room(dispatch.limits, [one.dispatch.limits for one in self._running.values()])

    def decline(self, dispatch: JobDispatch, reason: str) -> None:
        """Give an attempt back to the gateway's queue."""
        log.info("Declined job_dispatch", job_id=dispatch.job_id, attempt_id=dispatch.attempt_id, reason=reason)
        self._outbox.say(JobDecline(attempt_id=dispatch.attempt_id, reason=reason))

    def cancel(self, attempt_id: str, reason: str) -> None:
        """Ask a running attempt to end, and remember why; others are ignored, their result is already on its way."""
        running = self._running.get(attempt_id)
        if running is not None and not running.stop.is_set():
            running.stop_reason = reason
            running.stop.set()

    def stop_all(self, reason: str) -> None:
        """Ask everything that runs to end; the gateway will give these jobs to other nodes."""
        self.stop_some(self.types, reason)

    def stop_some(self, job_types: Collection[str], reason: str) -> None:
        """Ask what runs of these job types to end; the gateway will give these jobs to other nodes."""
        for running in self._running.values():
            if running.dispatch.job_type in job_types and not running.stop.is_set():
                running.stop_outcome = Outcome.LOST
                running.stop_reason = reason
                running.stop.set()

    @property
    def types(self) -> tuple[str, ...]:
        """The job types of what runs, each once."""
        return tuple(dict.fromkeys(running.dispatch.job_type for running in self._running.values()))

    def shown(self) -> tuple[RunningAttempt, ...]:
        """Return what runs, for its owner to see."""
        now = trio.current_time()
        return tuple(
            RunningAttempt(
                attempt_id=attempt_id,
                job_id=running.dispatch.job_id,
                job_type=running.dispatch.job_type,
                running_s=now - running.started,
                fraction=running.progress.fraction if running.progress else None,
                text=running.progress.text if running.progress else "",
                gpus=running.gpus,
                memory_bytes=running.dispatch.limits.memory_bytes,
            )
            for attempt_id, running in self._running.items()
        )

    def failures(self) -> tuple[Failure, ...]:
        """Return the last attempts that did not complete, the newest first."""
        now = trio.current_time()
        return tuple(
            Failure(
                attempt_id=result.attempt_id,
                job_id=result.job_id,
                job_type=job_type,
                outcome=result.outcome.value,
                detail=result.detail,
                ago_s=now - ended,
            )
            for ended, result, job_type in reversed(self._failures)
        )

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while self._running:
            await self._change.wait()

    async def _run(self, running: _Running) -> None:
        dispatch = running.dispatch
        try:
            try:
                await self._ledger.begin(dispatch)
            except (OSError, sqlite3.Error) as error:
                self.decline(dispatch, f"the node cannot write its spool: {error}")
                return
            self._outbox.say(JobAccept(attempt_id=dispatch.attempt_id))
            finished = await self._executor.run(
                dispatch,
                progress=functools.partial(self._progressed, running),
                stop=running.stop,
                outputs=self._ledger.outputs(dispatch.attempt_id),
                gpus=running.gpus,
            )
            result = _result(running, finished)
            await self._keep(result)
        finally:
            del self._running[dispatch.attempt_id]
            self._change.set()
            self._change = trio.Event()
        self._remember(dispatch.attempt_id)
        self._note(dispatch, result)
        _report(dispatch, result)
        self._deliver(result)

    async def _keep(self, result: JobResult) -> None:
        """Put a result on disk; where that is full, once more when it has been relieved of what it can do without."""
        try:
            try:
                await self._ledger.finish(result)
            except (OSError, sqlite3.Error):
                await self._relieve()
                await self._ledger.finish(result)
        except (OSError, sqlite3.Error) as error:
            # Better delivered from memory than not at all; only a crash before the acknowledgement loses it.
            log.warning("Spool not written", attempt_id=result.attempt_id, reason=str(error))

    def _progressed(self, running: _Running, progress: JobProgress) -> None:
        before = running.progress
        fraction = progress.fraction if before is None or progress.fraction is not None else before.fraction
        text = progress.text or (before.text if before else "")
        running.progress = JobProgress(attempt_id=progress.attempt_id, fraction=fraction, text=text)
        self._printed(running.dispatch, progress.log)
        self._outbox.progress(progress)

    def _note(self, dispatch: JobDispatch, result: JobResult) -> None:
        self._tell(dispatch, result)
        if result.outcome is Outcome.COMPLETED:
            self.completed += 1
        elif result.outcome is not Outcome.CANCELLED:
            self.failed += 1
            self._failures.append((trio.current_time(), result, dispatch.job_type))

    def _remember(self, attempt_id: str) -> None:
        self._ended[attempt_id] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)


def _result(running: _Running, finished: Finished) -> JobResult:
    if finished.outcome is Outcome.CANCELLED:
        finished = attrs.evolve(finished, outcome=running.stop_outcome, detail=running.stop_reason or finished.detail)
    return JobResult(
        job_id=running.dispatch.job_id,
        attempt_id=running.dispatch.attempt_id,
        outcome=finished.outcome,
        detail=finished.detail,
        value=finished.value,
        result_ref=finished.result_ref,
        outputs=finished.outputs,
        usage=finished.usage,
        sandbox=finished.sandbox,
    )


def _report(dispatch: JobDispatch, result: JobResult) -> None:
    fields = {
        "job_id": result.job_id,
        "attempt_id": result.attempt_id,
        "job_type": dispatch.job_type,
        "wall_s": round(result.usage.wall_s, 3),
    }
    if result.outcome is Outcome.COMPLETED:
        log.info("Job completed", **fields, outputs=len(result.outputs))
    else:
        log.info("Job failed", **fields, outcome=result.outcome.value, reason=result.detail)

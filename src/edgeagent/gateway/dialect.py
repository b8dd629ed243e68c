"""What a node means that speaks the other dialect (``wire.dialect``), in the messages of our own.

Such a node has one job at a time and names jobs, not attempts; it cannot be told to stop, and says nothing while a job
runs.  So it counts as working from ``job_assign`` to its last word on the job, it may be silent for as long as the job
may take, and it is never given a job that it may still be working on.  Pure: ``now`` is seconds on the caller's
monotonic clock.
"""

from __future__ import annotations

import attrs
import orjson

from edgeagent.wire.codec import LocalProtocolError
from edgeagent.wire.dialect import SILENT_S, HeartbeatPong, JobAck, JobAssign, StatusUpdate, decode, encode
from edgeagent.wire.messages import (
    Heartbeat,
    JobAccept,
    JobDecline,
    JobDispatch,
    JobProgress,
    JobResult,
    Limits,
    Message,
    Outcome,
)

#: Seconds that a job may be late with its last word, beyond what it may take.
GRACE_S = 60.0


@attrs.frozen
class Late:
    """The last word on a job that this link was not given: which attempt it is, the store has to say."""

    update: StatusUpdate


@attrs.define
class _Work:
    job_id: str
    attempt_id: str
    until: float
    started: bool = False


class Unfinished:
    """Which jobs each node may still be working on, over all its links."""

    def __init__(self) -> None:
        self._until: dict[str, dict[str, float]] = {}

    def begin(self, node_id: str, job_id: str, until: float) -> None:
        """The node was given a job, and has until then to say how it ended."""
        self._until.setdefault(node_id, {})[job_id] = until

    def end(self, node_id: str, job_id: str) -> None:
        """The node has said how it ended."""
        jobs = self._until.get(node_id, {})
        jobs.pop(job_id, None)
        if not jobs:
            self._until.pop(node_id, None)

    def has(self, node_id: str, job_id: str, now: float) -> bool:
        """Return whether the node may still be working on the job."""
        jobs = self._until.get(node_id, {})
        for over in [job for job, until in jobs.items() if until <= now]:
            self.end(node_id, over)
        return job_id in self._until.get(node_id, {})


class Interpreter:
    """One link: what was said on it, and so what the next frame means."""

    def __init__(self, now: float) -> None:
        self._work: _Work | None = None
        self._heard_at = now
        self._seq = 0

    @property
    def attempt_id(self) -> str | None:
        """The attempt that this link was given and that has not ended."""
        return None if self._work is None else self._work.attempt_id

    def silent_at(self) -> float:
        """Return when the node counts as gone if nothing more is heard."""
        quiet = self._heard_at + SILENT_S
        return quiet if self._work is None else max(quiet, self._work.until)

    def assign(self, dispatch: JobDispatch, now: float, time: str) -> tuple[str, float]:
        """Return the frame that gives the node this job, and until when its last word is waited for.

        Raises:
            LocalProtocolError: the dialect has no words for the job; says why.
        """
        if dispatch.inputs or dispatch.limits.gpus:
            raise LocalProtocolError("a job with inputs or GPUs cannot be told to this node")
        said = JobAssign(
            job_id=dispatch.job_id,
            job_type=dispatch.job_type,
            payload_ref=dispatch.payload_ref or "",
            timestamp=time,
            payload=dispatch.payload,
        )
        frame = encode(said)
        until = latest(now, dispatch.limits)
        self._work = _Work(dispatch.job_id, dispatch.attempt_id, until)
        return frame, until

    def beat(self) -> Heartbeat:
        """Return the heartbeat that the node would send now."""
        self._seq += 1
        running = () if self._work is None else (self._work.attempt_id,)
        return Heartbeat(seq=self._seq, load=float(len(running)), free_slots=1 - len(running), running=running)

    def receive(self, frame: str | bytes, now: float) -> list[Message | Late]:
        """Return what a frame means.

        Raises:
            RemoteProtocolError: it is no frame of this dialect.
        """
        said = decode(frame)
        self._heard_at = now
        match said:
            case HeartbeatPong():
                return [self.beat()]
            case JobAck():
                return self._acknowledged(said)
            case StatusUpdate() if said.status in {"completed", "failed"}:
                return self._ended(said)
            case StatusUpdate() if self._work is not None and said.job_id == self._work.job_id:
                progress = JobProgress(
                    attempt_id=self._work.attempt_id, fraction=said.progress, text=_line(said.detail)
                )
                return [*self._start(self._work), progress]
        return []

    def _acknowledged(self, said: JobAck) -> list[Message | Late]:
        work = self._work
        if work is None or said.job_id != work.job_id:
            return []
        if said.accepted:
            return list(self._start(work))
        self._work = None
        return [JobDecline(attempt_id=work.attempt_id, reason="the node did not accept the job")]

    def _ended(self, said: StatusUpdate) -> list[Message | Late]:
        work = self._work
        if work is None or said.job_id != work.job_id:
            return [Late(said)]
        self._work = None
        return [result_of(said, work.attempt_id)]

    def _start(self, work: _Work) -> tuple[JobAccept, ...]:
        if work.started:
            return ()
        work.started = True
        return (JobAccept(attempt_id=work.attempt_id),)


def latest(now: float, limits: Limits) -> float:
    """Return until when a node may work on a job that it gets now."""
    return now + limits.wall_s + GRACE_S


def result_of(said: StatusUpdate, attempt_id: str) -> JobResult:
    """Return the result that a last word is, as that of this attempt."""
    if said.status == "completed":
        return JobResult(job_id=said.job_id, attempt_id=attempt_id, outcome=Outcome.COMPLETED, value=said.detail)
    detail = _line(said.detail) or "the node did not say why"
    return JobResult(job_id=said.job_id, attempt_id=attempt_id, outcome=Outcome.FAILED, detail=detail)


def _line(detail: object) -> str:
    if detail is None:
        return ""
    return (detail if isinstance(detail, str) else orjson.dumps(detail).decode())[:1000]

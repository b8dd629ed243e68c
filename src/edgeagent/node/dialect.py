"""Our messages in the other dialect (``wire.dialect``), for a gateway that speaks nothing else.

Such a gateway names jobs, not attempts, and acknowledges no result: one counts as received when the gateway is heard
again on the same link after it was said.  Pure: ids are handed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from edgeagent.wire.codec import LocalProtocolError
from edgeagent.wire.dialect import (
    PING_S,
    SILENT_S,
    HeartbeatPing,
    HeartbeatPong,
    JobAck,
    JobAssign,
    Said,
    StatusUpdate,
    encode,
)
from edgeagent.wire.messages import (
    Bye,
    HeartbeatAck,
    Hello,
    JobAccept,
    JobDecline,
    JobDispatch,
    JobProgress,
    JobResult,
    JobResultAck,
    Message,
    NodeState,
    Outcome,
    Welcome,
)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@attrs.frozen
class Turn:
    """What one message leads to: frames for the gateway, messages for the node."""

    frames: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()


class Jobs:
    """Which attempt stands for which job that this node has not settled; lives as long as the node."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._attempts: dict[str, str] = {}  # job -> attempt

    def attempt(self, job_id: str) -> str | None:
        """Return the attempt that stands for a job."""
        return self._attempts.get(job_id)

    def job(self, attempt_id: str) -> str | None:
        """Return the job that an attempt stands for."""
        return next((job for job, attempt in self._attempts.items() if attempt == attempt_id), None)

    def begin(self, job_id: str) -> str:
        """Take a job on, and return the attempt that stands for it."""
        attempt_id = self._attempts[job_id] = self._new_id()
        return attempt_id

    def end(self, attempt_id: str) -> None:
        """The gateway has heard how it ended."""
        self._attempts = {job: attempt for job, attempt in self._attempts.items() if attempt != attempt_id}


class Translator:
    """One link."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._told: list[str] = []  # attempts whose results were said, and the gateway not heard since
        self._received: set[str] = set()

    def from_node(self, message: Message) -> Turn:
        """Return what a message of ours leads to; a heartbeat is the caller's to send by REST."""
        turn = Turn()
        match message:
            case Hello():
                turn = Turn(messages=(Welcome(heartbeat_s=PING_S, lease_s=SILENT_S, keep=message.held),))
            case Bye():
                turn = Turn(messages=(Bye(reason="goodbye"),))
            case JobAccept():
                turn = self._about(message.attempt_id, "running", accepted=True)
            case JobDecline():
                turn = self._about(message.attempt_id, "failed", detail=message.reason, accepted=False)
                self._jobs.end(message.attempt_id)
            case JobProgress():
                text = message.text or None
                turn = self._about(message.attempt_id, "running", progress=message.fraction, detail=text)
            case JobResult() if message.attempt_id not in {*self._told, *self._received}:
                self._told.append(message.attempt_id)
                turn = Turn(frames=(_last_word(message),))
        return turn

    def from_gateway(self, said: Said | None, state: NodeState) -> Turn:
        """Return what the gateway's word leads to; ``state`` is how it last said that the node stands."""
        acknowledged: list[Message] = [JobResultAck(attempt_id=one) for one in self._told]
        for attempt_id in self._told:
            self._jobs.end(attempt_id)
        self._received.update(self._told)
        self._told.clear()
        match said:
            case HeartbeatPing():
                return Turn((encode(HeartbeatPong()),), (*acknowledged, HeartbeatAck(seq=0, state=state)))
            case JobAssign():
                turn = self._assigned(said)
                return Turn(turn.frames, (*acknowledged, *turn.messages))
        return Turn(messages=tuple(acknowledged))

    def _assigned(self, said: JobAssign) -> Turn:
        job_id = said.job_id.lower()
        if not _UUID.fullmatch(job_id):
            refused = StatusUpdate(job_id=said.job_id, status="failed", detail="a job's id is a UUID")
            return Turn(frames=(encode(JobAck(job_id=said.job_id, accepted=False)), encode(refused)))
        if self._jobs.attempt(job_id) is not None:
            return Turn(frames=(encode(JobAck(job_id=said.job_id)),))  # again: it is being worked on, or was
        reference = {"payload_ref": said.payload_ref} if said.payload_ref else {}
        attempt_id = self._jobs.begin(job_id)
        payload = {**said.payload, **reference}
        dispatch = JobDispatch(job_id=job_id, attempt_id=attempt_id, job_type=said.job_type, payload=payload)
        return Turn(messages=(dispatch,))

    def _about(
        self,
        attempt_id: str,
        status: str,
        *,
        accepted: bool | None = None,
        progress: float | None = None,
        detail: str | None = None,
    ) -> Turn:
        job_id = self._jobs.job(attempt_id)
        if job_id is None:
            return Turn()
        acks = () if accepted is None else (encode(JobAck(job_id=job_id, accepted=accepted)),)
        return Turn((*acks, encode(StatusUpdate(job_id=job_id, status=status, progress=progress, detail=detail))))


def _last_word(result: JobResult) -> str:
    job_id = result.job_id
    if result.outcome is Outcome.COMPLETED:
        value = result.value if result.result_ref is None else {"value": result.value, "result_ref": result.result_ref}
        try:
            return encode(StatusUpdate(job_id=job_id, status="completed", progress=1.0, detail=value))
        except LocalProtocolError as error:
            return encode(StatusUpdate(job_id=job_id, status="failed", detail=f"the result cannot be sent: {error}"))
    detail = f"{result.outcome.value}: {result.detail}" if result.detail else result.outcome.value
    return encode(StatusUpdate(job_id=job_id, status="failed", detail=detail))

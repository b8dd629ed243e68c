"""What the session asks the node for, joined from the parts that know: ``session.Node`` of a real node."""

from __future__ import annotations

import attrs
import trio

from edgeagent import __version__
from edgeagent.node import machine
from edgeagent.node.attempts import Attempts
from edgeagent.node.credentials import Credentials
from edgeagent.node.gate import Gate
from edgeagent.node.sender import Sender
from edgeagent.wire.messages import Heartbeat, Hello, JobDispatch, JobResultAck, JobVerdict

#: Why a draining node declines.
STOPPING = "the node takes no new work: it is being stopped"


@attrs.frozen(kw_only=True)
class Agent:
    """The parts of a running node; every call returns at once."""

    attempts: Attempts
    sender: Sender
    credentials: Credentials
    intake: trio.MemorySendChannel[JobDispatch]
    announced: tuple[str, ...]
    slots: int
    sandbox_tier: str
    gate: Gate
    fetches: tuple[str, ...] = ()
    memory_bytes: int = attrs.Factory(machine.memory_bytes)

    @property
    def held(self) -> tuple[str, ...]:
        """Attempts whose leases must not end: those that run, and those whose result is still on its way."""
        return tuple(dict.fromkeys([*self.attempts.running, *self.sender]))

    @property
    def gpus(self) -> tuple[str, ...]:
        """What of the GPUs is lent at the moment."""
        return self.attempts.gpus.uuids

    def hello(self) -> Hello:
        """Return the first message of a link."""
        return Hello(
            version=__version__,
            capabilities=self.announced,
            slots=self.slots,
            gpus=self.gpus,
            memory_bytes=self.memory_bytes,
            sandbox_tier=self.sandbox_tier,
            fetches=self.fetches,
            held=self.held,
        )

    def heartbeat(self, seq: int) -> Heartbeat:
        """Return how the node is now."""
        closed = self.gate.closed(self.announced)
        return Heartbeat(
            seq=seq,
            load=self.attempts.load,
            free_slots=0 if len(closed) == len(self.announced) else self.attempts.free_slots,
            running=self.held,
            not_now=closed,
        )

    async def changed(self) -> None:
        """Wait until other jobs are taken than before."""
        before = self.gate.closed(self.announced)
        while self.gate.closed(self.announced) == before:
            await self.gate.changed.wait()

    def dispatched(self, dispatch: JobDispatch) -> None:
        """Pass a dispatch to the intake ring, or give it back where that is closed or cannot follow."""
        try:
            self.intake.send_nowait(dispatch)
        except trio.WouldBlock:
            self.attempts.decline(dispatch, "the node cannot follow")
        except trio.BrokenResourceError:
            self.attempts.decline(dispatch, STOPPING)

    def cancelled(self, attempt_id: str, reason: str) -> None:
        """Stop an attempt."""
        self.attempts.cancel(attempt_id, reason)

    def acknowledged(self, ack: JobResultAck) -> None:
        """Forget a result."""
        self.sender.acknowledged(ack)

    def judged(self, verdict: JobVerdict) -> None:
        """Note what became of a result that the gateway held."""
        self.sender.judged(verdict)

    def renewed(self, token: str) -> None:
        """Use a fresh token."""
        self.credentials.renew(token)

"""The link of a node that speaks the other dialect: ``dialect`` says what its frames mean, this sends and hears them.

The open link renews the lease of the job that was given over it, because the node cannot; of a job from an earlier link
nobody knows whether it still runs, so its lease is let run out, and the node gets nothing else until then.  The link
ends with the node's token, which cannot be renewed over it; a job that runs then may end first.
"""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
import trio

from edgeagent.gateway.dialect import Interpreter, Late, latest, result_of
from edgeagent.gateway.relay import Ended, Session
from edgeagent.gateway.store import attempts_of_nodes
from edgeagent.wire.codec import LocalProtocolError, RemoteProtocolError
from edgeagent.wire.dialect import PING_S, HeartbeatPing, encode
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Hello, JobDispatch, JobResult, Limits, Message

log = structlog.get_logger()

_EXPIRED = "the token has expired; get a fresh one by proving the node's key, and start again"


class ForeignSession(Session):
    """One link in the other dialect."""

    _interpreter: Interpreter
    _token_until: float  # on trio's clock: a wall clock that is set later neither ends nor prolongs a link

    async def _greet(self) -> None:
        """Nobody says hello: the node is what its token says, with one slot, and holds what it was given before."""
        node_id, network, now = self._claims.node_id, self._hub.network, trio.current_time()
        self._interpreter = Interpreter(now)
        self._token_until = now + self._claims.expires_at - self._hub.store.clock()
        flights = network.flights_of(node_id)
        for flight in flights:
            self._hub.unfinished.begin(node_id, flight.job_id, latest(now, Limits()))
        held = tuple(flight.attempt_id for flight in flights)
        hello = Hello(version="", capabilities=self._claims.capabilities, slots=1, held=held)
        await self._hub.greet(node_id, hello, self, None)
        await self._hub.beat(node_id, self._interpreter.beat(), self, None)

    def _silent_at(self) -> float:
        return self._interpreter.silent_at()

    async def _hear(self) -> tuple[Message, ...]:
        frame = await self._frame()
        try:
            heard = self._interpreter.receive(frame, trio.current_time())
        except RemoteProtocolError as error:
            raise Ended(CloseCode.PROTOCOL_ERROR, str(error)) from None
        messages = [await self._placed(one) if isinstance(one, Late) else one for one in heard]
        for one in messages:
            if isinstance(one, JobResult):
                self._hub.unfinished.end(self._claims.node_id, one.job_id)
        return tuple(one for one in messages if one is not None)

    async def _placed(self, late: Late) -> JobResult | None:
        """Return a late last word as the result of the newest attempt that the node had; None if it had none."""
        node_id, job_id = self._claims.node_id, late.update.job_id
        attempt_id = await self._hub.store.read(attempts_of_nodes.newest, node_id, job_id)
        if attempt_id is None:
            log.warning("Result of a job that the node never had", node_id=node_id)
            return None
        return result_of(late.update, attempt_id)

    def _renewal(self) -> str | None:
        return None  # there are no words for a fresh token

    def _opened(self, nursery: trio.Nursery) -> None:
        super()._opened(nursery)
        nursery.start_soon(self._ping)

    async def _say(self, batch: list[Message]) -> None:
        for message in batch:
            if isinstance(message, JobDispatch):  # there are no words for anything else
                await self._assign(message)

    async def _ping(self) -> None:
        while True:
            await self._line.send(encode(HeartbeatPing()))
            await trio.sleep(min(PING_S, self._hub.settings.lease_s / 2))
            attempt_id = self._interpreter.attempt_id
            if attempt_id is None and self._expired():
                self.close(CloseCode.AUTHENTICATION_FAILED, _EXPIRED)
            if attempt_id is not None:
                self._hub.network.renew([attempt_id], trio.current_time())
                await self._hub.heard(self._claims.node_id)  # it answers no ping while it works

    def _expired(self) -> bool:
        return self._token_until <= trio.current_time()

    async def _assign(self, dispatch: JobDispatch) -> None:
        hub, node_id, now = self._hub, self._claims.node_id, trio.current_time()
        if self._expired():
            await self._decline(dispatch, "the node's token has expired")
            self.close(CloseCode.AUTHENTICATION_FAILED, _EXPIRED)
            return
        if hub.unfinished.has(node_id, dispatch.job_id, now):
            await self._decline(dispatch, "the node may still be working on the job")
            return
        time = datetime.fromtimestamp(hub.store.clock(), UTC).isoformat()
        try:
            frame, until = self._interpreter.assign(dispatch, now, time)
        except LocalProtocolError as error:
            await self._decline(dispatch, str(error))
            return
        hub.unfinished.begin(node_id, dispatch.job_id, until)
        await self._line.send(frame)

"""The link to a gateway that speaks only the other dialect, as a ``Transport`` of our own messages.

``dialect`` says what is meant; this carries it, and sends the heartbeats that such a gateway takes by REST.  So the
session, the relay and everything behind them need not know what kind of gateway they talk to.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
import trio

from edgeagent.errors import RefusedError, UnreachableError
from edgeagent.node.dialect import Jobs, Translator, Turn
from edgeagent.node.transport import LinkLost, Transport
from edgeagent.rest import Json
from edgeagent.wire import codec
from edgeagent.wire.codec import RemoteProtocolError
from edgeagent.wire.dialect import decode
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Heartbeat, Message, NodeState

log = structlog.get_logger()

#: Messages that may wait for the session; it reads all the time.
_WAITING = 256

#: Says by REST that the node is alive, with its load; returns the gateway's answer.
Beat = Callable[[float], Awaitable[Json]]


class ForeignTransport:
    """A ``Transport`` over another one that speaks the other dialect."""

    def __init__(self, below: Transport, jobs: Jobs, beat: Beat) -> None:
        self._below, self._beat = below, beat
        self._translator = Translator(jobs)
        self._in, self._messages = trio.open_memory_channel[Message](_WAITING)
        self._load: float | None = None
        self._due = trio.Event()
        self._state = NodeState.REGISTERED

    async def send(self, frame: str) -> None:
        """Send what a frame of ours means."""
        for message in codec.decode(frame):
            if isinstance(message, Heartbeat):
                self._load = message.load
                self._due.set()
            await self._act(self._translator.from_node(message))

    async def receive(self) -> str | bytes:
        """Return the next message as a frame of ours."""
        return codec.encode(await self._messages.receive())

    async def close(self, code: int, reason: str) -> None:
        """Close with this code."""
        await self._below.close(code, reason)

    async def hear(self) -> None:
        """Take what the gateway says, until the link is lost."""
        while True:
            frame = await self._below.receive()
            try:
                said = decode(frame)
            except RemoteProtocolError as error:
                raise LinkLost(
                    CloseCode.PROTOCOL_ERROR, f"the gateway broke the protocol: {error}", ours=True
                ) from None
            await self._act(self._translator.from_gateway(said, self._state))

    async def beat(self) -> None:
        """Send each heartbeat by REST."""
        while True:
            await self._due.wait()
            self._due = trio.Event()
            assert self._load is not None  # the event is set after it
            try:
                status = (await self._beat(self._load)).get("status")
            except RefusedError as error:
                log.warning("Heartbeat refused", reason=str(error))
            except UnreachableError as error:
                log.warning("Heartbeat not delivered", reason=str(error))
            else:
                self._state = NodeState(status) if status in set(NodeState) else NodeState.HEALTHY

    async def _act(self, turn: Turn) -> None:
        for message in turn.messages:
            await self._in.send(message)
        for frame in turn.frames:
            await self._below.send(frame)


@contextlib.asynccontextmanager
async def speaking(below: Transport, jobs: Jobs, beat: Beat) -> AsyncIterator[Transport]:
    """Carry our messages over a link in the other dialect for as long as the block runs."""
    transport = ForeignTransport(below, jobs, beat)
    log.info("The gateway speaks the older dialect: jobs cannot be cancelled there, and files not be handed over")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.hear)
        nursery.start_soon(transport.beat)
        yield transport
        nursery.cancel_scope.cancel()

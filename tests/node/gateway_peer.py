"""The gateway's end of a link over memory channels, for tests that script what a gateway says and when."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any

import trio

from edgeagent.node.transport import LinkLost
from edgeagent.wire.link import Link, Role
from edgeagent.wire.messages import Heartbeat, HeartbeatAck, Message, NodeState, Welcome


class NodeEnd:
    """A ``Transport`` whose other end is a ``GatewayEnd``."""

    def __init__(self, gateway_end: GatewayEnd) -> None:
        self._other = gateway_end

    async def send(self, frame: str) -> None:
        await trio.lowlevel.checkpoint()
        if self._other.closed is not None:
            raise LinkLost(*self._other.closed)
        self._other.to_gateway.send_nowait(frame)

    async def receive(self) -> str | bytes:
        try:
            return await self._other.from_gateway.receive()
        except trio.EndOfChannel:
            assert self._other.closed is not None
            raise LinkLost(*self._other.closed) from None

    async def close(self, code: int, reason: str) -> None:
        self._other.node_closed = (code, reason)


class GatewayEnd:
    """One connection as the gateway sees it, with the gateway's own state machine."""

    def __init__(self) -> None:
        self.to_gateway, self._received = trio.open_memory_channel[str](math.inf)
        self._sent, self.from_gateway = trio.open_memory_channel[str](math.inf)
        self.link = Link(Role.GATEWAY, trio.current_time())
        self.closed: tuple[int, str] | None = None  # by the gateway, or by the network
        self.node_closed: tuple[int, str] | None = None  # by the node
        self.ended = trio.Event()  # the node has let go of the connection
        self._pending: list[Message] = []

    async def get(self, kind: type[Any] | None = None) -> Any:
        """Return the next message of ``kind`` from the node, or the next at all; others are dropped."""
        while True:
            while self._pending:
                message = self._pending.pop(0)
                if kind is None or isinstance(message, kind):
                    return message
            self._pending += self.link.receive(await self._received.receive(), trio.current_time())

    def got_nothing(self, kind: type[Any] | None = None) -> bool:
        """Return whether the node has said nothing (of that kind) that was not read."""
        with contextlib.suppress(trio.WouldBlock):
            while True:
                self._pending += self.link.receive(self._received.receive_nowait(), trio.current_time())
        return not [message for message in self._pending if kind is None or isinstance(message, kind)]

    def say(self, *messages: Message) -> None:
        """Send one frame."""
        self._sent.send_nowait(self.link.send(*messages))

    def say_raw(self, frame: str) -> None:
        """Send something that need not be a frame."""
        self._sent.send_nowait(frame)

    def close(self, code: int, reason: str = "") -> None:
        """Close the connection from the gateway's side."""
        self.closed = (code, reason)
        self._sent.close()

    async def welcome(self, **fields: Any) -> Any:
        """Answer Hello with Welcome; return the Hello."""
        hello = await self.get()
        self.say(Welcome(**{"heartbeat_s": 15.0, "lease_s": 60.0, **fields}))
        return hello

    async def acknowledge_heartbeats(self) -> None:
        """Answer heartbeats for ever, dropping everything else."""
        while True:
            heartbeat = await self.get(Heartbeat)
            self.say(HeartbeatAck(seq=heartbeat.seq, state=NodeState.HEALTHY))


class Gateway:
    """Hands out connections: ``connect`` to the node, ``accept`` to the test."""

    def __init__(self) -> None:
        self._offered, self._accepted = trio.open_memory_channel[GatewayEnd](math.inf)
        self.refusals: list[LinkLost] = []  # raised by the next connects, in this order
        self.connects: list[float] = []  # when each was tried

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[NodeEnd]:
        """Open a connection; a ``Connect``."""
        await trio.lowlevel.checkpoint()
        self.connects.append(trio.current_time())
        if self.refusals:
            raise self.refusals.pop(0)
        end = GatewayEnd()
        self._offered.send_nowait(end)
        try:
            yield NodeEnd(end)
        finally:
            end.ended.set()

    async def accept(self) -> GatewayEnd:
        """Return the next connection."""
        return await self._accepted.receive()

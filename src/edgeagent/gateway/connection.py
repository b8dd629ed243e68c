"""One TCP connection under hypercorn, with the deadlines and the cut that hypercorn lacks.

Hypercorn shields every write from cancellation, so a peer that stops reading would hold its task, and the gateway's
shutdown, for ever; and it lets a message that nobody wants wait in a channel, for as long as the peer likes.  Here a
write has a deadline, a read may not run ahead of the application, and anybody who has the connection can cut it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Protocol

import trio

from edgeagent.wire.codec import MAX_FRAME_BYTES

#: Seconds that one write may take; hypercorn writes at most one message, so at most about a MiB.
SEND_S = 20.0

#: Most bytes of a link between two messages that the application takes: hypercorn refuses a message that is too large,
#: but goes on collecting it.  Room for those that wait in its queue.
MAX_UNHEARD_BYTES = 4 * MAX_FRAME_BYTES


class Stream(Protocol):
    """What a connection needs below it: a socket's stream, or one of a pair in memory."""

    async def send_all(self, data: bytes) -> None:
        """Send everything."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return something, or nothing at the end."""
        ...

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""

    async def aclose(self) -> None:
        """Close."""


class Carrier(Protocol):
    """What a link needs of what carries it, besides its messages."""

    def cut(self) -> None:
        """End it, whatever it is doing."""

    def heard(self) -> None:
        """The application took a message."""


class Connection:
    """A stream as hypercorn uses it; ``socket`` is there for it to ask who the peer is."""

    def __init__(self, stream: Stream, socket: Any) -> None:
        self.socket = socket
        self.scope = trio.CancelScope()
        self._stream = stream
        self._sending: trio.CancelScope | None = None
        self._unheard: int | None = None
        self._tap: Callable[[bytes], Awaitable[None]] | None = None

    def cut(self) -> None:
        """End the connection, whatever it is doing."""
        self.scope.cancel()
        if self._sending is not None:  # shielded by hypercorn from the scope above
            self._sending.cancel()

    def heard(self) -> None:
        """The application took a message: from now on at most ``MAX_UNHEARD_BYTES`` may come before the next."""
        self._unheard = 0

    def tap(self, tap: Callable[[bytes], Awaitable[None]]) -> None:
        """From now on ``tap`` gets what is received, and hypercorn only the end."""
        self._tap = tap

    async def send_all(self, data: bytes) -> None:
        """Send everything within ``SEND_S``, or lose the connection."""
        with trio.move_on_after(SEND_S) as self._sending:
            await self._stream.send_all(data)
        if self._sending.cancelled_caught:
            self.cut()
            raise trio.BrokenResourceError("the peer does not take what it is sent")

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return something, or nothing at the end."""
        while True:
            data = await self._stream.receive_some(max_bytes)
            if self._unheard is not None:
                self._unheard += len(data)
                if self._unheard > MAX_UNHEARD_BYTES:
                    self.cut()
                    raise trio.BrokenResourceError("the peer sends a message without end")
            if self._tap is None or not data:
                return data
            await self._tap(bytes(data))

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()


#: The connection that the running request or link came over; hypercorn starts applications in the tasks it was set in.
current: ContextVar[Connection] = ContextVar("edgeagent_gateway_connection")

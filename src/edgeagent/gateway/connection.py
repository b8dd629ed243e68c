"""One TCP connection under hypercorn, with the deadlines and the cut that hypercorn lacks.

Hypercorn shields every write from cancellation, so a peer that stops reading would hold its task, and the gateway's
shutdown, for ever.  Here a write has a deadline, and anybody who has the connection can cut it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import trio

#: Seconds that one write may take; hypercorn writes at most one message, so at most about a MiB.
SEND_S = 20.0


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


class Connection:
    """A stream as hypercorn uses it; ``socket`` is there for it to ask who the peer is."""

    def __init__(self, stream: Stream, socket: Any) -> None:
        self.socket = socket
        self.scope = trio.CancelScope()
        self._stream = stream
        self._sending: trio.CancelScope | None = None
        self._turn = trio.Lock()  # to write: an answer may be on its way while what comes after it is refused
        self._held: list[bytes] | None = None  # what is sent together, see ``together``
        #: What goes on with the connection once hypercorn is done with it: a link, after its handshake.
        self.link: Callable[[Connection], Awaitable[None]] | None = None

    def cut(self) -> None:
        """End the connection, whatever it is doing."""
        self.scope.cancel()
        if self._sending is not None:  # shielded by hypercorn from the scope above
            self._sending.cancel()

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Send what this block sends at its end, or before it closes, at once.

        Hypercorn writes head, body and end of an answer one by one, and each would be a packet that wakes the peer.
        """
        if self._held is None:
            self._held = []
        try:
            yield
        finally:
            await self._flush()

    async def send_all(self, data: bytes) -> None:
        """Send everything within ``SEND_S``, or lose the connection."""
        if self._held is not None:
            self._held.append(data)
        else:
            await self._send(data)

    async def _flush(self) -> None:
        held, self._held = self._held, None
        if held and not self.scope.cancel_called:  # nobody waits for a connection that was cut
            await self._send(held[0] if len(held) == 1 else b"".join(held))

    async def _send(self, data: bytes) -> None:
        # Shielded: half of a frame would garble all that follows.
        with trio.CancelScope(shield=True):
            async with self._turn:
                if not self.scope.cancel_called:
                    with trio.move_on_after(SEND_S) as self._sending:
                        await self._stream.send_all(data)
        if self.scope.cancel_called or (self._sending is not None and self._sending.cancelled_caught):
            self.cut()
            raise trio.BrokenResourceError("the peer does not take what it is sent")

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return something, or nothing at the end."""
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        await self._flush()
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close."""
        await self._flush()
        await self._stream.aclose()


#: The connection that the running request or link came over; hypercorn starts applications in the tasks it was set in.
current: ContextVar[Connection] = ContextVar("edgeagent_gateway_connection")

"""A WebSocket whose handshake is over, on its connection alone: hypercorn, which did the handshake, is gone by then.

What hypercorn holds for an open WebSocket (two tasks, a channel, both protocols' state) was a third of what an idle
link took, and each frame went through all of it.  Nearly every frame is a whole text, which ``frames`` takes out; all
others go to wsproto, which is made only once there is one.
"""

from __future__ import annotations

from collections import deque
from io import BytesIO, StringIO
from typing import Any, cast

import trio
from wsproto.connection import Connection as Judge
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from edgeagent.gateway import frames
from edgeagent.gateway.connection import Connection
from edgeagent.wire.codec import MAX_FRAME_BYTES

#: Seconds that the peer has to answer our close frame.
CLOSE_S = 2.0
#: Most bytes that may come between two messages that the link takes: pings, or a message that never ends.
MAX_UNHEARD_BYTES = 4 * MAX_FRAME_BYTES
#: Most bytes read at once.
_CHUNK = 1 << 16


class WebSocket:
    """The gateway's end; what ``relay.Line`` promises to a link."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._splitter = frames.Splitter()
        self._heard: deque[str | bytes] | None = None  # what came together with what was returned
        self._pieces: StringIO | BytesIO | None = None  # of a message that has not ended
        self._unheard = 0
        self._judge: Judge | None = None
        self._gone = False
        self._sending = trio.Lock()

    async def receive(self) -> str | bytes | None:
        """Return the next message; None once the peer has closed, is gone, or broke the protocol and was told so."""
        while not self._heard:
            if self._gone:
                return None
            await self._read()
        self._unheard = 0
        frame = self._heard.popleft()
        if not self._heard:
            self._heard = None
        return frame

    async def send(self, text: str) -> None:
        """Send a message; one that the peer does not take any more is lost."""
        await self._write(frames.text(text))

    async def close(self, code: int, reason: str) -> None:
        """Close with this code, and throw away what the peer still sends until it has closed too, or ``CLOSE_S``.

        A peer that still sends while its connection is closed would be reset, and might not read the code.
        """
        await self._say(CloseConnection(code=code, reason=reason))
        with trio.move_on_after(CLOSE_S):
            while not self._gone:
                await self._read()
                self._heard = None

    def cut(self) -> None:
        """End the connection, whatever it is doing."""
        self._connection.cut()

    async def _read(self) -> None:
        data = await self._chunk()
        if not data:
            self._gone = True
            return
        for part in self._splitter.feed(bytes(data)):
            if isinstance(part, str):
                self._take(part)
            else:
                await self._hear(part)

    async def _chunk(self) -> bytes | bytearray:
        """Return some bytes; none where the peer is gone, or sends without end."""
        try:
            data = await self._connection.receive_some(_CHUNK)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""
        self._unheard += len(data)
        if self._unheard > MAX_UNHEARD_BYTES:
            self.cut()
            return b""
        return data

    async def _hear(self, data: bytes) -> None:
        """Have wsproto look at what is not a plain text."""
        if self._gone:
            return
        judge = self._judged()
        judge.receive_data(data)
        for event in judge.events():
            match event:
                case Message():
                    await self._collect(event)
                case Ping():
                    await self._say(event.response())
                case CloseConnection():
                    await self._end(event, judge.state)
            if self._gone:
                return

    async def _collect(self, piece: Message[Any]) -> None:
        if self._pieces is None:
            self._pieces = StringIO() if isinstance(piece, TextMessage) else BytesIO()
        cast(Any, self._pieces).write(piece.data)
        if self._pieces.tell() > MAX_FRAME_BYTES:
            await self._fail(CloseReason.MESSAGE_TOO_BIG, "")
        elif piece.message_finished:
            self._take(self._pieces.getvalue())
            self._pieces = None

    async def _end(self, close: CloseConnection, state: ConnectionState) -> None:
        if state is ConnectionState.OPEN:  # the peer did not close: wsproto cannot read it
            await self._fail(close.code, close.reason or "")
        elif state is ConnectionState.REMOTE_CLOSING:
            await self._say(close.response())
        self._gone = True

    def _take(self, message: str | bytes) -> None:
        if self._heard is None:
            self._heard = deque()
        self._heard.append(message)

    async def _fail(self, code: int, reason: str) -> None:
        """Tell the peer what it did, and give it time to read that; nothing that it sends is looked at."""
        await self._say(CloseConnection(code=code, reason=reason))
        with trio.move_on_after(CLOSE_S):
            while await self._chunk():
                pass
        self._gone = True

    async def _say(self, event: Event) -> None:
        try:
            data = self._judged().send(event)
        except LocalProtocolError:
            return  # one of us has closed already
        await self._write(data)

    async def _write(self, data: bytes) -> None:
        if self._gone:
            return
        try:
            async with self._sending:
                await self._connection.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._gone = True

    def _judged(self) -> Judge:
        if self._judge is None:
            self._judge = Judge(ConnectionType.SERVER)
        return self._judge

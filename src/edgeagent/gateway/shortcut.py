"""A link's short way through hypercorn: text messages go between the socket and the application without wsproto.

Hypercorn hands each frame through five objects, and wsproto parses it in Python; a good part of what a gateway at full
load did was that.  Hypercorn still does the handshake, the closing, and all that is not a whole text message
(``frames``).  It relies on hypercorn's ``WSStream``, as ``asgi`` does on its server.
"""

from __future__ import annotations

from typing import Any, cast

from hypercorn.protocol.events import Data
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream

from edgeagent.gateway import frames
from edgeagent.gateway.connection import Connection
from edgeagent.gateway.relay import Send


class Shortcut:
    """Stands in for the ``send`` of one WebSocket's application, and taps its connection once it is accepted."""

    def __init__(self, send: Send, connection: Connection) -> None:
        self._send, self._connection = send, connection
        self._stream = cast(WSStream, cast(Any, send).__self__)
        self._splitter = frames.Splitter()

    async def send(self, event: dict[str, Any]) -> None:
        """Send as hypercorn would."""
        stream = self._stream
        connected = stream.state is ASGIWebsocketState.CONNECTED and not stream.closed
        if event["type"] == "websocket.send" and connected:
            await stream.send(Data(stream_id=stream.stream_id, data=frames.text(event["text"])))
            return
        if event["type"] == "websocket.accept":
            # Before the peer hears of it: what comes next is a frame.
            self._connection.tap(self._heard)
        await self._send(event)

    async def _heard(self, data: bytes) -> None:
        stream = self._stream
        for part in self._splitter.feed(data):
            if stream.closed:
                return
            if isinstance(part, str):
                assert stream.app_put is not None  # it has accepted the link
                await stream.app_put({"type": "websocket.receive", "bytes": None, "text": part})
            else:
                await stream.handle(Data(stream_id=stream.stream_id, data=part))

"""Lines between nodes and the gateway, in memory: frames in order, and everything that can become of them.

A ``Line`` stands for one WebSocket: the node's end is a ``node.transport.Transport``, the gateway's end an ASGI
connection.  ``Weather`` is what all lines of a node go through.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import attrs
import trio

from edgeagent.node.transport import ABNORMAL, CLOSE_S, LinkLost
from edgeagent.simulation.history import History
from edgeagent.wire.link import SUBPROTOCOL

#: Frames that one direction holds before its sender has to wait: what sockets' buffers would.
MAX_UNDER_WAY = 64


@attrs.define(eq=False)
class Weather:
    """What a node's lines go through: how long a frame takes, in seconds, and until when nothing arrives."""

    delay_s: float = 0.0
    stalled_until: float = -math.inf


@attrs.frozen
class Close:
    """The sender closes."""

    code: int
    reason: str = ""


class CutError(Exception):
    """The line broke."""


class Way:
    """One direction of a line."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self._under_way: deque[tuple[float, str | Close]] = deque()
        self._changed = trio.Event()
        self._cut = False
        self.deaf = False  # what is sent is lost

    def cut(self) -> None:
        """Break: what is under way is lost."""
        self._cut = True
        self._wake()

    def push(self, item: str | Close) -> None:
        """Send without waiting."""
        if not (self._cut or self.deaf):
            self._under_way.append((trio.current_time() + self._weather.delay_s, item))
            self._wake()

    async def put(self, item: str | Close) -> None:
        """Send, once there is room; lost without a word where nobody is there any more."""
        await trio.lowlevel.checkpoint()
        while len(self._under_way) >= MAX_UNDER_WAY and not self._cut:
            await self._changed.wait()
        self.push(item)

    async def get(self) -> str | Close:
        """Return the next frame once it has arrived.

        Raises:
            CutError: the line broke.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._cut:
                raise CutError
            until = math.inf
            if self._under_way:
                until = max(self._under_way[0][0], self._weather.stalled_until)
                if until <= trio.current_time():
                    item = self._under_way.popleft()[1]
                    self._wake()
                    return item
            with trio.move_on_at(until):
                await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Line:
    """One connection of a node."""

    def __init__(self, node_id: str, token: str, weather: Weather) -> None:
        self.node_id, self.token = node_id, token
        self.up, self.down = Way(weather), Way(weather)
        self.accepted = trio.Event()

    def cut(self) -> None:
        """Break, and let both ends know."""
        self.up.cut()
        self.down.cut()


class NodeEnd:
    """A ``Transport``."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send(self, frame: str) -> None:
        """Send one text frame."""
        await self._line.up.put(frame)

    async def receive(self) -> str | bytes:
        """Return the next frame."""
        try:
            item = await self._line.down.get()
        except CutError:
            raise LinkLost(ABNORMAL, "the line was cut") from None
        if isinstance(item, Close):
            raise LinkLost(item.code, item.reason)
        return item

    async def close(self, code: int, reason: str) -> None:
        """Close with this code."""
        with trio.move_on_after(CLOSE_S):
            await self._line.up.put(Close(code, reason))

    def gone(self) -> None:
        """The node's socket is over, in order or not; the other end hears of it when the line lets it."""
        self._line.up.push(Close(ABNORMAL))


class GatewayEnd:
    """An ASGI connection: what the gateway's relay is called with."""

    def __init__(self, line: Line, history: History) -> None:
        self._line, self._history = line, history
        self._connected = False
        self._gone = False
        self.closing = trio.CancelScope()
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "path": f"/api/v1/relay/ws/{line.node_id}",
            "headers": [(b"authorization", f"Bearer {line.token}".encode())],
            "query_string": b"",
            "subprotocols": [SUBPROTOCOL],
        }

    async def receive(self) -> dict[str, Any]:
        """Return the next event."""
        if not self._connected:
            self._connected = True
            self._history.note("link", self._line.node_id)
            return {"type": "websocket.connect"}
        if self._gone:
            await trio.lowlevel.checkpoint()
            return {"type": "websocket.disconnect", "code": ABNORMAL}
        try:
            item = await self._line.up.get()
        except CutError:
            item = Close(ABNORMAL)
        if isinstance(item, Close):
            self._gone = True
            self._history.note("disconnect", self._line.node_id, str(item.code))
            return {"type": "websocket.disconnect", "code": item.code}
        self._history.note("in", self._line.node_id, item)
        return {"type": "websocket.receive", "text": item}

    async def send(self, event: dict[str, Any]) -> None:
        """Take an event."""
        match event["type"]:
            case "websocket.accept":
                self._line.accepted.set()
            case "websocket.send":
                self._history.said(self._line.node_id, event["text"])
                await self._line.down.put(event["text"])
            case "websocket.close":
                self._history.note("close", self._line.node_id, str(event["code"]))
                await self._line.down.put(Close(event["code"], event["reason"]))

    def heard(self) -> None:
        """The relay took a message."""

    def cut(self) -> None:
        """The relay ends the connection."""
        self._line.down.push(Close(ABNORMAL, "the gateway is gone"))
        self.closing.cancel()

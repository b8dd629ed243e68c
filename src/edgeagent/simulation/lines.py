"""Lines between nodes and the gateway, in memory: frames in order, and everything that can become of them.

A ``Line`` stands for one WebSocket: the node's end is a ``node.transport.Transport``, the gateway's end what
``gateway.relay`` calls a line.  ``Weather`` is what all lines of a node go through.
"""

from __future__ import annotations

import math
from collections import deque

import attrs
import trio

from edgeagent.gateway.relay import Opening
from edgeagent.node.transport import ABNORMAL, CLOSE_S, LinkLost
from edgeagent.simulation.history import History
from edgeagent.wire.link import SUBPROTOCOL

#: Frames that one direction holds before its sender has to wait: what sockets' buffers would.
MAX_UNDER_WAY = 64


@attrs.define(eq=False)
class Weather:
    """What a node's lines go through: how long a frame takes, in seconds, and until when nothing arrives.

    Until ``apart_until`` no line can be opened.
    """

    delay_s: float = 0.0
    stalled_until: float = -math.inf
    apart_until: float = -math.inf


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

    def lose(self) -> None:
        """Carry nothing any more, and let nobody know: what is sent after a partition is not what was sent before."""
        self.up.deaf = self.down.deaf = True

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
    """What the gateway's relay is called with."""

    def __init__(self, line: Line, history: History) -> None:
        self._line, self._history = line, history
        self._gone = False
        self.closing = trio.CancelScope()

    def accept(self) -> Opening:
        """Let the node know that it is connected, and return what it said for that."""
        self._history.note("link", self._line.node_id)
        self._line.accepted.set()
        return Opening(self._line.node_id, self._line.token, (SUBPROTOCOL,))

    async def receive(self) -> str | bytes | None:
        """Return the next frame; None once there will be no more."""
        if self._gone:
            await trio.lowlevel.checkpoint()
            return None
        try:
            item = await self._line.up.get()
        except CutError:
            item = Close(ABNORMAL)
        if isinstance(item, Close):
            self._gone = True
            self._history.note("disconnect", self._line.node_id, str(item.code))
            return None
        self._history.note("in", self._line.node_id, item)
        return item

    async def send(self, text: str) -> None:
        """Take a frame."""
        self._history.said(self._line.node_id, text)
        await self._line.down.put(text)

    async def close(self, code: int, reason: str) -> None:
        """Close, and wait until the node has too."""
        self._history.note("close", self._line.node_id, str(code))
        await self._line.down.put(Close(code, reason))
        with trio.move_on_after(CLOSE_S):
            while await self.receive() is not None:
                pass

    def cut(self) -> None:
        """The relay ends the connection."""
        self._line.down.push(Close(ABNORMAL, "the gateway is gone"))
        self.closing.cancel()

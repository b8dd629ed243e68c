"""A link that stalls without closing: a TCP proxy on loopback between a node and its gateway.

Both ends stay connected while nothing arrives any more, in one direction or both, for the connections that there are
and for those that are opened meanwhile.  It can also cut a connection in the middle of what it forwards.
"""

from __future__ import annotations

import enum

import attrs
import trio

_PIECE_BYTES = 64 << 10


class Way(enum.Enum):
    """Which way bytes go."""

    TO_GATEWAY = "to the gateway"
    TO_NODE = "to the node"


BOTH = frozenset(Way)


@attrs.define(eq=False)
class _Gate:
    """Open, held (what waits goes on later), or shut for ever."""

    held: dict[Way, trio.Event] = attrs.Factory(dict)

    async def pass_through(self, way: Way) -> None:
        while (event := self.held.get(way)) is not None:
            await event.wait()


class Proxy:
    """Forwards what comes to ``port`` to another port of this machine."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._gate = _Gate()
        self._cut: frozenset[Way] = frozenset()
        self.port = 0
        self.cuts = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Forward until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    def stall(self, ways: frozenset[Way]) -> None:
        """Let nothing through these ways from now on."""
        for way in ways:
            self._gate.held.setdefault(way, trio.Event())

    def heal(self, *, release: bool) -> None:
        """End the stall.

        Args:
            release: let what was held arrive now, late; otherwise connections that were stalled stay so.
        """
        gate = self._gate
        if not release:
            self._gate = _Gate()
            return
        events, gate.held = list(gate.held.values()), {}
        for event in events:
            event.set()

    def cut(self, ways: frozenset[Way]) -> None:
        """Of the next bytes that come one of these ways let half through, and close the connection then."""
        self._cut = ways

    async def _serve(self, node_end: trio.SocketStream) -> None:
        gate = self._gate
        try:
            gateway_end = await trio.open_tcp_stream("127.0.0.1", self._target_port)
        except OSError:
            return  # the gateway is down: so is this end
        async with gateway_end, trio.open_nursery() as nursery:
            nursery.start_soon(self._forward, gate, Way.TO_GATEWAY, node_end, gateway_end, nursery.cancel_scope)
            nursery.start_soon(self._forward, gate, Way.TO_NODE, gateway_end, node_end, nursery.cancel_scope)

    async def _forward(
        self, gate: _Gate, way: Way, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope
    ) -> None:
        try:
            while data := await source.receive_some(_PIECE_BYTES):
                await gate.pass_through(way)
                if way in self._cut and len(data) > 1:
                    self._cut = frozenset()
                    self.cuts += 1
                    await sink.send_all(data[: len(data) // 2])
                    break
                await sink.send_all(data)
            await gate.pass_through(way)  # the end of a stalled connection is not heard of either
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await gate.pass_through(way)
        both.cancel()

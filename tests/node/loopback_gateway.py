"""A gateway on loopback that says what the test says: a real WebSocket server with the gateway's state machine."""

from __future__ import annotations

from typing import Any

import trio
import trio_websocket

from edgeagent.wire.link import SUBPROTOCOL, Link, Role
from edgeagent.wire.messages import Heartbeat, HeartbeatAck, Hello, NodeState, Welcome
from edgeagent.wire.urls import GatewayUrl


class Connection:
    """The gateway's end of one link."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self._websocket = websocket
        self._link = Link(Role.GATEWAY, trio.current_time())
        self._pending: list[Any] = []

    async def get(self, kind: type[Any]) -> Any:
        """Return the next message of ``kind``; others are dropped, heartbeats acknowledged."""
        while True:
            while self._pending:
                message = self._pending.pop(0)
                if isinstance(message, Heartbeat):
                    await self.say(HeartbeatAck(seq=message.seq, state=NodeState.HEALTHY))
                if isinstance(message, kind):
                    return message
            self._pending += self._link.receive(await self._websocket.get_message(), trio.current_time())

    async def say(self, *messages: Any) -> None:
        await self._websocket.send_message(self._link.send(*messages))

    async def close(self, code: int, reason: str) -> None:
        await self._websocket.aclose(code, reason)

    async def welcome(self, **fields: Any) -> Hello:
        hello: Hello = await self.get(Hello)
        await self.say(Welcome(**{"heartbeat_s": 15.0, "lease_s": 60.0, **fields}))
        return hello


class Gateway:
    """A port on loopback, and the links that come in."""

    def __init__(self) -> None:
        self._offer, self._links = trio.open_memory_channel[Connection](10)
        self.url = GatewayUrl(False, "")

    async def handle(self, request: trio_websocket.WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol=SUBPROTOCOL)
        await self._offer.send(Connection(websocket))
        await websocket._close_handshake.wait()

    async def accept(self) -> Connection:
        return await self._links.receive()


async def serve(nursery: trio.Nursery) -> Gateway:
    """Return a gateway that listens until the nursery ends."""
    gateway = Gateway()
    server = await nursery.start(trio_websocket.serve_websocket, gateway.handle, "127.0.0.1", 0, None)
    gateway.url = GatewayUrl.parse(f"http://127.0.0.1:{server.port}")
    return gateway

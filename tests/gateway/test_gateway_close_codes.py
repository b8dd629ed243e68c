"""Close codes over real sockets, heard by trio-websocket's client: also by one that is slow to read and to answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
import trio_websocket
from scripted import PortGateway, on_a_port
from scripted_node import Node, Operator

from edgeagent.gateway import ownership, websocket
from edgeagent.gateway.ceilings import Ceilings
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.store.orders import Kind
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Heartbeat

Cause = Callable[[PortGateway, Operator, Node], Awaitable[None]]


async def revoke(gateway: PortGateway, operator: Operator, node: Node) -> None:
    place = GatewaySettings(data_dir=gateway.data_dir)
    await trio.to_thread.run_sync(ownership.order, place, Kind.REVOKE, operator.node_id, "spam")


async def replace(gateway: PortGateway, operator: Operator, node: Node) -> None:
    async with gateway.as_node(operator) as newer:
        await newer.ready()


async def stop(gateway: PortGateway, operator: Operator, node: Node) -> None:
    gateway.stop.set()


async def wait(gateway: PortGateway, operator: Operator, node: Node) -> None:
    """Three intervals without a heartbeat pass by themselves."""


async def flood(gateway: PortGateway, operator: Operator, node: Node) -> None:
    await node.say(*[Heartbeat(seq=1, load=0.0, free_slots=1)] * 20)


CAUSES: dict[CloseCode, Cause] = {
    CloseCode.AUTHENTICATION_FAILED: revoke,
    CloseCode.REPLACED: replace,
    CloseCode.RESTARTING: stop,
    CloseCode.HEARTBEAT_TIMEOUT: wait,
    CloseCode.FLOOD: flood,
}


def pace(code: CloseCode) -> dict[str, Any]:
    """Return settings by which silence, or a few messages, close the link where that is the cause, and only there."""
    match code:
        case CloseCode.HEARTBEAT_TIMEOUT:
            return {"heartbeat_s": 0.5, "lease_s": 2.0}
        case CloseCode.FLOOD:
            return {"ceilings": Ceilings(messages_each=30)}
    return {}


@pytest.fixture
def given_up(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """Set once the gateway has waited in vain for a node to answer its close, which it soon has."""
    event, real = trio.Event(), websocket.WebSocket.close

    async def close(self: websocket.WebSocket, code: int, reason: str) -> None:
        await real(self, code, reason)
        event.set()

    monkeypatch.setattr(websocket, "CLOSE_S", 0.3)
    monkeypatch.setattr(websocket.WebSocket, "close", close)
    return event


@pytest.mark.parametrize("code", CAUSES)
async def test_a_close_code_reaches_the_node(tmp_path: Path, code: CloseCode) -> None:
    """One that reads as it comes."""
    async with on_a_port(tmp_path, **pace(code)) as gateway:
        operator = await gateway.enlist()
        async with gateway.as_node(operator) as node:
            await node.ready()
            await CAUSES[code](gateway, operator, node)
            assert (await node.closed()).code == code


class Held(trio.abc.HalfCloseableStream):
    """A TCP stream from which nothing is read until it is let go."""

    def __init__(self, below: trio.SocketStream) -> None:
        self._below = below
        self.held = False
        self._let_go = trio.Event()

    def let_go(self) -> None:
        """Read again."""
        self.held = False
        self._let_go.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._below.receive_some(max_bytes)
        if self.held:
            await self._let_go.wait()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._below.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._below.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._below.send_eof()

    async def aclose(self) -> None:
        await self._below.aclose()


@attrs.define
class SlowLine(PortGateway):
    """A way to a running gateway over a stream that can be held."""

    line: Held | None = None

    async def open(self, nursery: trio.Nursery, path: str, options: Any) -> trio_websocket.WebSocketConnection:
        """Open a WebSocket over it."""
        host, port = self.url.removeprefix("http://").split(":")
        self.line = Held(await trio.open_tcp_stream(host, int(port)))
        return await trio_websocket.wrap_client_stream(nursery, self.line, host, path, **options)


@pytest.mark.parametrize("code", CAUSES)
async def test_a_close_code_reaches_a_node_that_is_slow(tmp_path: Path, code: CloseCode, given_up: trio.Event) -> None:
    """One that does not read, nor answer the close, until the gateway has long let go of the connection."""
    async with on_a_port(tmp_path, **pace(code)) as gateway:
        operator = await gateway.enlist()
        slow = SlowLine(gateway.data_dir, gateway.url)
        async with slow.as_node(operator) as node:
            await node.ready()
            assert slow.line is not None
            slow.line.held = True
            await CAUSES[code](gateway, operator, node)
            await given_up.wait()
            await trio.testing.wait_all_tasks_blocked(0.05)  # it has also let go of the connection
            slow.line.let_go()
            assert (await node.closed()).code == code


async def test_a_node_that_talks_while_it_is_closed_hears_the_code(tmp_path: Path) -> None:
    """What it still sends is thrown away, not answered with a reset that would lose it the close frame."""
    async with on_a_port(tmp_path) as gateway:
        operator = await gateway.enlist()
        async with gateway.as_node(operator) as node, trio.open_nursery() as nursery:
            await node.ready()

            async def talk() -> None:
                while node.websocket.closed is None:
                    await node.say(Heartbeat(seq=1, load=0.0, free_slots=1))

            nursery.start_soon(talk)
            nursery.start_soon(replace, gateway, operator, node)
            assert (await node.closed()).code == CloseCode.REPLACED
            nursery.cancel_scope.cancel()

"""A link's WebSocket once hypercorn is gone: what wsproto's client says to it, and hears."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import attrs
import pytest
import trio
import trio.testing
from scripted import MemoryGateway, NoSocket
from trio.testing import MockClock
from wsproto.connection import Connection as Client
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from edgeagent.gateway import websocket
from edgeagent.gateway.connection import Connection
from edgeagent.gateway.websocket import WebSocket
from edgeagent.wire.codec import MAX_FRAME_BYTES

TEXT = TextMessage(data="one")
HANDSHAKE = (
    "GET /api/v1/relay/ws/{node} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: edge-relay.v1\r\nAuthorization: Bearer {token}\r\n\r\n"
)


@attrs.define(eq=False)
class Pair:
    """A client, its stream, and the gateway's end."""

    stream: trio.abc.HalfCloseableStream
    ours: WebSocket
    scope: trio.CancelScope
    client: Client = attrs.field(factory=lambda: Client(ConnectionType.CLIENT))

    async def say(self, *events: Event) -> None:
        """Send all of this at once."""
        await self.stream.send_all(b"".join(self.client.send(event) for event in events))

    async def hear(self) -> list[Event]:
        """Return what has arrived; nothing at the end of the stream."""
        self.client.receive_data(bytes(await self.stream.receive_some()))
        return list(self.client.events())


@pytest.fixture
def pair() -> Pair:
    """Two ends in memory, after the handshake."""
    stream, below = trio.testing.memory_stream_pair()
    connection = Connection(below, None)
    return Pair(stream, WebSocket(connection), connection.scope)


async def test_messages_of_one_read_come_one_by_one(pair: Pair) -> None:
    """In their order, whichever way they go: whole, in pieces, binary."""
    await pair.say(
        TEXT,
        TextMessage(data="t", message_finished=False),
        TextMessage(data="wo"),
        BytesMessage(data=b"thr", message_finished=False),
        BytesMessage(data=b"ee"),
        TextMessage(data="four"),
    )
    assert [await pair.ours.receive() for _ in range(4)] == ["one", "two", b"three", "four"]


async def test_a_ping_is_answered_while_nothing_else_comes(pair: Pair, autojump_clock: MockClock) -> None:
    """And is no message."""
    await pair.say(Ping(payload=b"there?"))
    with trio.move_on_after(1) as waited:
        await pair.ours.receive()
    assert waited.cancelled_caught
    assert await pair.hear() == [Pong(payload=b"there?")]


async def test_a_close_is_answered_and_ends_the_messages(pair: Pair) -> None:
    """With the peer's own code; what was said before is still heard."""
    await pair.say(TEXT, CloseConnection(code=1001))
    assert [await pair.ours.receive() for _ in range(3)] == ["one", None, None]
    (closed,) = await pair.hear()
    assert isinstance(closed, CloseConnection)
    assert closed.code == 1001


async def test_a_peer_that_is_gone_ends_the_messages(pair: Pair) -> None:
    """With or without a word."""
    await pair.stream.aclose()
    assert await pair.ours.receive() is None
    await pair.ours.send("into the void")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(b"\x81\x01x", 1002, id="not masked"),
        pytest.param(b"\x83\x80\0\0\0\0", 1002, id="of no known kind"),
        pytest.param(b"\x81\x81\0\0\0\0\xff", 1007, id="not UTF-8"),
        pytest.param(b"\x81\xff" + (MAX_FRAME_BYTES + 1).to_bytes(8, "big") + bytes(4 + 1 + MAX_FRAME_BYTES), 1009),
    ],
)
async def test_what_cannot_be_read_is_told_with_its_code(
    pair: Pair, autojump_clock: MockClock, frame: bytes, code: int
) -> None:
    """Over the wire, before the connection goes: the peer's author is to find the fault."""
    heard: list[Event] = []

    async def listen() -> None:
        heard.extend(await pair.hear())
        await pair.stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await pair.stream.send_all(frame)
        assert await pair.ours.receive() is None
    (closed,) = heard
    assert isinstance(closed, CloseConnection)
    assert closed.code == code


async def test_pings_without_end_cost_the_connection(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs that many between two messages."""
    monkeypatch.setattr(websocket, "MAX_UNHEARD_BYTES", 10_000)
    await pair.say(*[Ping(payload=b"x" * 100)] * 90, TEXT)
    assert await pair.ours.receive() == "one"
    assert not pair.scope.cancel_called
    await pair.say(*[Ping(payload=b"x" * 100)] * 100)
    assert await pair.ours.receive() is None
    assert pair.scope.cancel_called


async def test_messages_of_two_tasks_are_not_mixed(pair: Pair) -> None:
    """Each is sent whole, one after the other."""
    async with trio.open_nursery() as nursery:
        for letter in "ab":
            nursery.start_soon(pair.ours.send, letter * 100_000)
        texts = ""
        while len(texts) < 200_000:
            texts += "".join(event.data for event in await pair.hear() if isinstance(event, TextMessage))
    assert texts in ("a" * 100_000 + "b" * 100_000, "b" * 100_000 + "a" * 100_000)


@contextlib.asynccontextmanager
async def linked(gateway: MemoryGateway, count: int) -> AsyncIterator[None]:
    """Have so many links open that say nothing after their hello."""
    hello = '{"type":"hello","version":"1","capabilities":["echo"],"slots":1}'
    async with trio.open_nursery() as nursery:
        for number in range(count):
            operator = await gateway.enlist(f"node {number}")
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(gateway.server.serve, theirs, NoSocket())
            await ours.send_all(HANDSHAKE.format(node=operator.node_id, token=operator.token).encode())
            assert b" 101 " in bytes(await ours.receive_some())
            await ours.send_all(Client(ConnectionType.CLIENT).send(TextMessage(data=hello)))
            assert b"welcome" in bytes(await ours.receive_some())
        await trio.testing.wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def test_an_open_link_is_one_task(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """The one that its connection has anyway; each more would be a KiB or two for each of ten thousand links."""
    before = trio.lowlevel.current_statistics().tasks_living
    async with linked(memory_gateway, 5):
        assert trio.lowlevel.current_statistics().tasks_living - before == 5

"""Connections that misbehave: each costs itself, and the gateway goes on."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import trio
from scripted import MemoryGateway, NoSocket
from trio.testing import MockClock

from edgeagent.gateway import asgi, connection
from edgeagent.gateway.connection import Connection


async def serve(gateway: MemoryGateway, nursery: trio.Nursery) -> trio.abc.HalfCloseableStream:
    """Open a connection to the gateway, and return our end of it."""
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(gateway.server.serve, theirs, NoSocket())
    return ours


async def answer(stream: trio.abc.ReceiveStream) -> bytes:
    """Return everything until the gateway closes."""
    return b"".join([bytes(piece) async for piece in stream])


def problem(said: bytes) -> tuple[int, str]:
    """Return the status and the detail of the problem document that came last."""
    head, _, body = said.rpartition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    document = json.loads(body)
    assert document["type"] == "about:blank"
    assert f"HTTP/1.1 {document['status']} ".encode() in head
    return document["status"], document["detail"]


async def is_well(gateway: MemoryGateway) -> bool:
    """Whether the next request is answered."""
    async with trio.open_nursery() as nursery:
        stream = await serve(gateway, nursery)
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"healthy" in await answer(stream)


async def test_a_header_that_stops_coming_costs_the_connection(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Five seconds after the connection was opened."""
    async with trio.open_nursery() as nursery:
        stream = await serve(memory_gateway, nursery)
        await stream.send_all(b"GET /health HT")
        started = trio.current_time()
        assert await answer(stream) == b""
        assert trio.current_time() - started == pytest.approx(asgi.IDLE_S, abs=0.1)


async def test_a_connection_is_kept_for_five_seconds_after_each_answer(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Counted anew from the end of each."""
    async with trio.open_nursery() as nursery:
        stream = await serve(memory_gateway, nursery)
        for _ in range(3):
            await trio.sleep(4.0)
            await stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        started = trio.current_time()
        assert (await answer(stream)).count(b"healthy") == 3
        assert trio.current_time() - started == pytest.approx(asgi.IDLE_S, abs=0.1)


async def test_a_connection_that_its_peer_closes_is_over_at_once(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """It is not kept for the rest of the five seconds."""
    async with trio.open_nursery() as nursery:
        stream = await serve(memory_gateway, nursery)
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.send_eof()
        assert b"healthy" in await answer(stream)
    assert trio.current_time() < 1


async def test_a_request_that_a_slow_gateway_has_not_read_is_answered(
    mock_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """However late the gateway gets round to it: the peer was in time."""
    async with trio.open_nursery() as nursery:
        stream = await serve(memory_gateway, nursery)
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        mock_clock.jump(60.0)
        assert b"healthy" in await answer(stream)


async def test_a_handshake_is_not_cut_off_by_a_slow_gateway(
    mock_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Wherever in it the gateway is held up for longer than an idle connection may last."""
    operator = await memory_gateway.enlist()
    for turns in range(12):
        async with trio.open_nursery() as nursery:
            ours, theirs = trio.testing.memory_stream_pair()
            await ours.send_all(SHAKE.format(node=operator.node_id, token=operator.token).encode())
            nursery.start_soon(memory_gateway.server.serve, theirs, NoSocket())
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            mock_clock.jump(asgi.IDLE_S + 1)
            assert (await ours.receive_some()).startswith(b"HTTP/1.1 101 "), turns
            await ours.aclose()


async def test_a_body_that_stops_coming_costs_the_connection(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """After 30 s, and a little for what came."""
    async with trio.open_nursery() as nursery:
        stream = await serve(memory_gateway, nursery)
        await stream.send_all(b"POST /api/v1/nodes/register HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        started = trio.current_time()
        assert await answer(stream) == b""
        assert trio.current_time() - started == pytest.approx(asgi.RECEIVE_S, abs=0.01)
    assert await is_well(memory_gateway)


async def test_a_peer_that_stops_reading_is_cut_off(autojump_clock: MockClock) -> None:
    """A write that takes 20 s is the last one, although hypercorn shields it."""

    class Stuck:
        async def send_all(self, data: bytes) -> None:
            await trio.sleep_forever()

    stuck = Connection(Stuck(), None)  # type: ignore[arg-type]
    with stuck.scope, trio.CancelScope(shield=True):
        with pytest.raises(trio.BrokenResourceError):
            await stuck.send_all(b"x")
        assert trio.current_time() == pytest.approx(connection.SEND_S)
        assert stuck.scope.cancel_called


async def test_a_connection_that_is_cut_stops_sending(autojump_clock: MockClock) -> None:
    """At once, shielded or not."""

    class Stuck:
        async def send_all(self, data: bytes) -> None:
            await trio.sleep_forever()

    stuck = Connection(Stuck(), None)  # type: ignore[arg-type]

    async def send() -> None:
        with trio.CancelScope(shield=True), pytest.raises(trio.BrokenResourceError):
            await stuck.send_all(b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        stuck.cut()
    assert trio.current_time() == 0


SHAKE = (
    "GET /api/v1/relay/ws/{node} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: edge-relay.v1\r\nAuthorization: Bearer {token}\r\n\r\n"
)
REQUEST = "POST /api/v1/nodes/register HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


def garble(rng: random.Random, data: bytes) -> bytes:
    """Return ``data`` with some of its bytes changed, left out or doubled."""
    garbled = bytearray(data)
    for _ in range(rng.randrange(8)):
        at = rng.randrange(len(garbled))
        match rng.randrange(3):
            case 0:
                garbled[at] = rng.randrange(256)
            case 1:
                del garbled[at : at + rng.randrange(1, 20)]
            case _:
                garbled[at:at] = rng.randbytes(rng.randrange(1, 20))
    return bytes(garbled) or b"x"


@pytest.mark.parametrize("seed", range(8))
async def test_no_bytes_bring_the_gateway_down(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, seed: int
) -> None:
    """Garbled handshakes, requests and frames: each is refused or cut, and the next client is served."""
    rng = random.Random(seed)
    operator = await memory_gateway.enlist()
    shake = SHAKE.format(node=operator.node_id, token=operator.token).encode()
    for _ in range(40):
        start: Any = rng.choice(
            [garble(rng, shake), shake, garble(rng, REQUEST.encode()), b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        )
        async with trio.open_nursery() as nursery:
            stream = await serve(memory_gateway, nursery)
            try:
                await stream.send_all(start + rng.randbytes(rng.randrange(200)))
                with trio.move_on_after(1):
                    await answer(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            await stream.aclose()
    assert await is_well(memory_gateway)


async def test_a_body_that_drips_costs_the_connection(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """A byte a second buys no time: the whole of it has its 30 s."""
    async with trio.open_nursery() as nursery:
        stream = await serve(memory_gateway, nursery)
        await stream.send_all(b"POST /api/v1/nodes/register HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        started = trio.current_time()

        async def drip() -> None:
            try:
                while True:
                    await stream.send_all(b" ")
                    await trio.sleep(1)
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(drip)
        assert await answer(stream) == b""
        assert trio.current_time() - started == pytest.approx(asgi.RECEIVE_S, abs=0.1)


async def test_a_header_that_drips_costs_the_connection(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """A byte a second buys no time either."""
    async with trio.open_nursery() as nursery:
        stream = await serve(memory_gateway, nursery)

        async def drip() -> None:
            try:
                while True:
                    await stream.send_all(b"G")
                    await trio.sleep(1)
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(drip)
        assert await answer(stream) == b""
        assert trio.current_time() == pytest.approx(5.0, abs=0.1)


PRI = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_http_2_is_not_taken_up(autojump_clock: MockClock, memory_gateway: MemoryGateway, before: bytes) -> None:
    """At once, first or later on a connection: many requests on one would escape its limits."""
    async with trio.open_nursery() as nursery:
        stream = await serve(memory_gateway, nursery)
        await stream.send_all(before + PRI)
        said = await answer(stream)
        assert b"\x04\x00\x00\x00\x00\x00" not in said  # SETTINGS, the server's first frame
        assert said.count(b"healthy") == bool(before)
        assert problem(said) == (505, "HTTP/1.1 is spoken here")
        assert trio.current_time() == 0
    assert await is_well(memory_gateway)


async def test_an_answer_is_one_write(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Head, body and end, though hypercorn hands them over one by one: each write wakes the peer."""
    ours, theirs = trio.testing.memory_stream_pair()
    writes: list[bytes] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(theirs, name)

        async def send_all(self, data: bytes) -> None:
            writes.append(data)
            await theirs.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory_gateway.server.serve, Counting(), NoSocket())
        await ours.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"healthy" in await answer(ours)
    assert [piece.partition(b" ")[0] for piece in writes if piece] == [b"HTTP/1.1"]


async def test_a_request_is_refused_after_the_answer_before_it(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """However slowly the peer takes that: the two are never mixed, nor is either lost."""
    ours, theirs = trio.testing.memory_stream_pair()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(theirs, name)

        async def send_all(self, data: bytes) -> None:
            await trio.sleep(1.0)
            await theirs.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory_gateway.server.serve, Slow(), NoSocket())
        await ours.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
        said = await answer(ours)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"healthy") == 1
    assert problem(said)[0] == 400


async def test_an_offer_of_http_2_is_passed_over(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Clients that make one with each connection, as Java's does, get their answer in HTTP/1.1."""
    async with trio.open_nursery() as nursery:
        stream = await serve(memory_gateway, nursery)
        await stream.send_all(
            b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        said = await answer(stream)
        assert said.startswith(b"HTTP/1.1 200 ")
        assert said.count(b"healthy") == 2


@pytest.mark.parametrize(
    ("sent", "status", "detail"),
    [
        (b"nonsense\r\n\r\n", 400, "that is no request that HTTP/1.1 allows"),
        (b"GET /health HTTP/1.1\r\n\r\n", 400, "that is no request that HTTP/1.1 allows"),
        (
            b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (1 << 17),
            431,
            "the request's line and headers are too long",
        ),
        (
            b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            "a body comes with its length, or in chunks",
        ),
        (SHAKE.format(node="x", token="x").replace("/relay/ws/", "/jobs/").encode(), 403, "links are at"),
        (SHAKE.format(node="x", token="x").replace("Version: 13", "Version: 8").encode(), 400, "that is no request"),
        (SHAKE.format(node="x", token="x").encode() + b"\x81\x80\0\0\0\0", 400, "that is no request"),
    ],
    ids=["garbage", "no host", "header", "coding", "elsewhere", "version", "hasty"],
)
async def test_what_never_becomes_a_request_is_told_why(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, sent: bytes, status: int, detail: str
) -> None:
    """By a problem document, as everything else is that goes wrong; then the connection is over."""
    async with trio.open_nursery() as nursery:
        stream = await serve(memory_gateway, nursery)
        await stream.send_all(sent)
        said = problem(await answer(stream))
        assert (said[0], said[1][: len(detail)]) == (status, detail)
    assert await is_well(memory_gateway)

"""Bodies that come slowly, many at the same time: they take no more memory than one caller may."""

from __future__ import annotations

import pytest
import trio
from scripted import PortGateway

from edgeagent.gateway.api import documents
from edgeagent.gateway.api.submissions import MAX_BATCH_BYTES

MIB = 1 << 20
BATCH = b'{"jobs": [' + b" " * (7 * MIB) + b"]}"


async def begin(gateway: PortGateway, token: str, *, chunked: bool = False) -> trio.SocketStream:
    """Send a batch without its last bytes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(BATCH)}"
    head = f"POST /api/v1/jobs/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{length}\r\n\r\n"
    await stream.send_all(head.encode() + (b"a\r\n" + BATCH[:10] + b"\r\n" if chunked else BATCH[:10]))
    return stream


async def answers(streams: list[trio.SocketStream], most: int) -> dict[trio.SocketStream, bytes]:
    """Return the first ``most`` answers, by their connection."""
    heard: dict[trio.SocketStream, bytes] = {}

    async def hear(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        heard[stream] = await stream.receive_some(4096)
        if len(heard) >= most:
            scope.cancel()

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(hear, stream, nursery.cancel_scope)
    return heard


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_account_sends_four_batches_at_once(port_gateway: PortGateway, chunked: bool) -> None:
    """One more is told to come later, whichever that is; there is room again when one has been read, or is given up."""
    token, other = await port_gateway.account(), await port_gateway.account("other")
    fit = documents.MAX_BYTES // (MAX_BATCH_BYTES if chunked else len(BATCH))
    assert fit == 4
    streams = [await begin(port_gateway, token, chunked=chunked) for _ in range(fit + 1)]
    ((refused, said),) = (await answers(streams, 1)).items()
    assert said.startswith(b"HTTP/1.1 429")
    assert b"retry-after: 5" in said.lower()
    first, second, *others = (stream for stream in streams if stream is not refused)
    await first.send_all(b"0\r\n\r\n" if chunked else BATCH[10:])  # cut short, and empty: refused for what it says
    assert (await answers([first], 1))[first].startswith(b"HTTP/1.1 422")
    await second.aclose()
    async with port_gateway.http(other) as http:
        assert (await http.post("/jobs/batch", json={"jobs": []})).status_code == 422
    async with port_gateway.http(token) as http:
        while (await http.post("/jobs/batch", content=BATCH)).status_code == 429:
            await trio.lowlevel.checkpoint()
    for stream in [refused, first, *others]:
        await stream.aclose()


async def test_a_document_alone_is_read_however_long_it_says_it_is(port_gateway: PortGateway) -> None:
    """It is refused for its length then, not for its company."""
    async with port_gateway.http(await port_gateway.account()) as http:
        answer = await http.post("/jobs/batch", content=b" " * (documents.MAX_BYTES + 1))
    assert answer.status_code == 413

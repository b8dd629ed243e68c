"""The link's socket against a real WebSocket server on loopback."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio_websocket
from structlog.testing import capture_logs

from edgeagent.node.transport import LinkLost, connect, most_telling
from edgeagent.wire.link import SUBPROTOCOL

Handler = Callable[[trio_websocket.WebSocketRequest], Awaitable[None]]


@contextlib.asynccontextmanager
async def _serving(handler: Handler) -> AsyncIterator[str]:
    """Run a WebSocket server; give its address."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
        yield f"ws://127.0.0.1:{server.port}/api/v1/relay/ws/n1"
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def _listening(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Run a bare TCP server; give the address of a link to it."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handler, 0)
        port = listeners[0].socket.getsockname()[1]
        yield f"ws://127.0.0.1:{port}/api/v1/relay/ws/n1"
        nursery.cancel_scope.cancel()


async def _lost(url: str, *, receive: bool = True) -> LinkLost:
    """Connect, wait for the end, return what it was."""
    lost: LinkLost | None = None
    with trio.fail_after(15):
        try:
            async with connect(url, "the-token") as transport:
                while receive:
                    await transport.receive()
        except* LinkLost as group:
            lost = most_telling(group)
    assert lost is not None
    return lost


def _closing(code: int, reason: str) -> Handler:
    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        websocket = await request.accept(subprotocol=SUBPROTOCOL)
        await websocket.aclose(code, reason)

    return handler


@pytest.mark.parametrize(
    ("code", "reason"), [(4001, "token expired"), (4002, "heartbeat timeout"), (4009, "replaced"), (1012, "restarting")]
)
async def test_close_code_and_reason_reach_the_node(code: int, reason: str) -> None:
    """The operator guide's codes mean something only if they arrive."""
    async with _serving(_closing(code, reason)) as url:
        lost = await _lost(url)

    assert (code, reason) == (lost.code, lost.reason)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_handshake_is_an_authentication_failure(status: int) -> None:
    """Some gateways refuse a bad token before the link is open; for the operator that is the same."""

    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        await request.reject(status, body=b"no")

    async with _serving(handler) as url:
        lost = await _lost(url)

    assert (4001, f"HTTP {status} at the handshake") == (lost.code, lost.reason)


async def test_another_http_status_is_a_loss_to_be_waited_out() -> None:
    """A proxy without its gateway answers 502; that passes."""

    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        await request.reject(502)

    async with _serving(handler) as url:
        lost = await _lost(url)

    assert 1006 == lost.code
    assert "HTTP 502" in lost.reason


async def test_token_and_subprotocol_are_offered_and_frames_pass_both_ways() -> None:
    """The token goes into a header, never into the address, which others log."""
    seen: dict[str, object] = {}

    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        seen.update(
            path=request.path,
            protocols=request.proposed_subprotocols,
            authorization=dict(request.headers)[b"authorization"],
        )
        websocket = await request.accept(subprotocol=SUBPROTOCOL)
        await websocket.send_message("echo " + str(await websocket.get_message()))
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await websocket.get_message()

    with trio.fail_after(10):
        async with _serving(handler) as url, connect(url, "the-token") as transport:
            await transport.send("hello " + "x" * 200_000)
            answer = await transport.receive()
            await transport.close(1000, "")

    assert "echo hello " + "x" * 200_000 == answer
    assert {
        "path": "/api/v1/relay/ws/n1",
        "protocols": (SUBPROTOCOL,),
        "authorization": b"Bearer the-token",
    } == seen


async def test_a_server_without_the_subprotocol_is_not_a_gateway() -> None:
    """Whatever answers there, it would not understand Hello."""

    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        websocket = await request.accept()
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await websocket.get_message()

    async with _serving(handler) as url:
        lost = await _lost(url)

    assert SUBPROTOCOL in lost.reason


async def test_a_ping_after_our_close_harms_nobody() -> None:
    """trio-websocket raises LocalProtocolError there (its issue 184); the caller sees an ordinary end."""
    pinged = trio.Event()

    async def raw(stream: trio.SocketStream) -> None:
        await _accept_by_hand(stream)
        await _until_close_frame(stream)
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(b"\x89\x00" * 3)  # three PINGs instead of the CLOSE that is due
            pinged.set()
            await stream.receive_some(1)

    with trio.fail_after(10):
        async with _listening(raw) as url, connect(url, "the-token") as transport:
            await transport.close(1000, "done")
            await pinged.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_closing_does_not_wait_for_a_peer_that_never_answers() -> None:
    """Two seconds, then the connection is dropped."""

    async def raw(stream: trio.SocketStream) -> None:
        await _accept_by_hand(stream)
        await trio.sleep_forever()

    with trio.fail_after(8):
        async with _listening(raw) as url, connect(url, "the-token") as transport:
            await transport.close(1000, "done")


async def test_a_peer_that_goes_away_during_the_handshake_is_noticed_at_once() -> None:
    """trio-websocket alone would wait for ever."""

    async def raw(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.aclose()

    with trio.fail_after(5):
        async with _listening(raw) as url:
            lost = await _lost(url)

    assert 1006 == lost.code


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"])
async def test_something_else_on_that_port_is_a_loss(answer: bytes) -> None:
    """The wrong port is the commonest mistake."""

    async def raw(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(answer)
            await stream.receive_some(1000)

    with trio.fail_after(5):
        async with _listening(raw) as url:
            lost = await _lost(url)

    assert 1006 == lost.code
    assert lost.reason


async def test_a_cut_connection_is_a_loss_without_a_code() -> None:
    """No close frame: the network, or a kill -9 of the gateway."""

    async def raw(stream: trio.SocketStream) -> None:
        await _accept_by_hand(stream)
        await trio.aclose_forcefully(stream)

    async with _listening(raw) as url:
        lost = await _lost(url)

    assert 1006 == lost.code


async def test_a_refused_connection_says_so() -> None:
    """In the words that the guide's troubleshooting table has."""
    async with _listening(_accept_by_hand) as url:
        pass  # nobody listens there any more

    lost = await _lost(url)

    assert (1006, "Connection refused") == (lost.code, lost.reason)


@pytest.mark.parametrize("host", ["gateway.invalid", "gateway..invalid", "x" * 70 + ".invalid"])
async def test_an_unknown_host_says_so(host: str) -> None:
    """``.invalid`` never resolves (RFC 2606), and the others are no host names at all."""
    lost = await _lost(f"ws://{host}/")

    assert 1006 == lost.code
    assert lost.reason


async def test_a_failed_tls_handshake_says_why() -> None:
    """``https`` on a port that speaks plain HTTP."""

    async def raw(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with _listening(raw) as url:
        lost = await _lost(url.replace("ws://", "wss://"))

    assert 1006 == lost.code
    assert "SSL" in lost.reason.upper()


async def test_sending_on_a_lost_link_raises_link_lost() -> None:
    """With the peer's code, whoever notices first."""
    async with _serving(_closing(4009, "replaced")) as url:
        lost: LinkLost | None = None
        with trio.fail_after(10):
            try:
                async with connect(url, "the-token") as transport:
                    with contextlib.suppress(LinkLost):
                        await transport.receive()
                    await transport.send("too late")
            except* LinkLost as group:
                lost = most_telling(group)

    assert lost is not None
    assert 4009 == lost.code


async def test_the_token_is_never_logged() -> None:
    """Nor does a failure quote it."""
    with capture_logs() as logs:
        async with _serving(_closing(4001, "no")) as url:
            lost = await _lost(url)

    assert "the-token" not in f"{logs} {lost!r}"


async def _accept_by_hand(stream: trio.SocketStream) -> None:
    """Answer a WebSocket handshake without a WebSocket library, so that what follows can break its rules."""
    import base64
    import hashlib

    request = b""
    while b"\r\n\r\n" not in request:
        request += await stream.receive_some(1000)
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Protocol: " + SUBPROTOCOL.encode() + b"\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


async def _until_close_frame(stream: trio.SocketStream) -> None:
    received = b""
    while not received.startswith(b"\x88"):  # FIN and opcode CLOSE
        received += await stream.receive_some(1000)

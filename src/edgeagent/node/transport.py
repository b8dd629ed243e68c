"""The link's socket: send a text, receive a text, close with a code; everything that goes wrong is ``LinkLost``.

``Transport`` is all that the relay knows, so that another WebSocket library or a pair of memory channels can stand in.
``connect`` is the one over trio-websocket, and the only place that knows its traps: a PING that arrives after our CLOSE
raises out of its reader (https://github.com/python-trio/trio-websocket/issues/184), and its handshake waits for ever
when the peer goes away in the middle of it.
"""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast
from urllib.parse import quote, urlsplit

import h11
import trio
import trio_websocket
import wsproto.utilities

from edgeagent.rest import explain
from edgeagent.wire.codec import MAX_FRAME_BYTES
from edgeagent.wire.link import HANDSHAKE_S, SUBPROTOCOL, CloseCode

#: Code of a connection that ended without a close frame (RFC 6455, section 7.4.1); never sent.
ABNORMAL = 1006
#: Seconds that the exchange of close frames may take.
CLOSE_S = 2.0
_RECEIVE_BYTES = 64 << 10
_Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
_REFUSED = (401, 403)
#: X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h).
_DATES = (9, 10)


class LinkLost(Exception):  # noqa: N818 (an event, not an error of ours)
    """The link is over.  ``code`` is a WebSocket close code, ``reason`` one line for a person."""

    def __init__(self, code: int, reason: str, *, back_s: float = 0.0, ours: bool = False, dated: bool = False) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.back_s = back_s  # seconds that the gateway asked to stay away for
        self.ours = ours  # this end decided it, so the peer is still to be told
        self.dated = dated  # by this machine's clock, the gateway's certificate is not valid now


def most_telling(group: BaseExceptionGroup[LinkLost]) -> LinkLost:
    """Return the loss that says most: a private code over a general one, where two tasks each saw a part of it."""
    return max(_leaves(group), key=lambda lost: (lost.code, lost.ours))


def _leaves(group: BaseExceptionGroup[LinkLost]) -> list[LinkLost]:
    found: list[LinkLost] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


class Transport(Protocol):
    """One open connection."""

    async def send(self, frame: str) -> None:
        """Send one text frame; raises ``LinkLost``."""

    async def receive(self) -> str | bytes:
        """Return the next frame; raises ``LinkLost``."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close with this code; never raises, takes at most ``CLOSE_S``."""


#: Opens a connection and closes it at the end of the block; raises ``LinkLost`` when that fails.
Connect = Callable[[], AbstractAsyncContextManager[Transport]]
#: Makes a transport of our messages out of one that speaks the other dialect.
Foreign = Callable[[Transport], AbstractAsyncContextManager[Transport]]


@contextlib.asynccontextmanager
async def connect(url: str, token: str, foreign: Foreign | None = None) -> AsyncIterator[Transport]:
    """Open the link at ``url`` (``ws`` or ``wss``) with the node's token.

    Args:
        foreign: makes a transport of ours out of one to a gateway that accepts no subprotocol; None lets it be lost.

    Raises:
        LinkLost: no connection; an HTTP 401 or 403 counts as close code 4001, which says the same.
    """
    async with trio.open_nursery() as nursery:
        try:
            stream, reader, websocket = await _open(nursery, url, token, in_query=False)
        except LinkLost as lost:
            if lost.code != CloseCode.AUTHENTICATION_FAILED or foreign is None:
                raise
            # A gateway of the other dialect looks for the token in the address only, and refuses us with 403.
            stream, reader, websocket = await _open(nursery, url, token, in_query=True)
        try:
            transport = WebSocketTransport(websocket, reader)
            if websocket.subprotocol == SUBPROTOCOL:
                yield transport
            elif websocket.subprotocol is None and foreign is not None:
                async with foreign(transport) as translated:
                    yield translated
            else:
                raise LinkLost(CloseCode.PROTOCOL_ERROR, f"the gateway does not speak {SUBPROTOCOL}")
            await transport.close(CloseCode.NORMAL, "")
        finally:
            await trio.aclose_forcefully(stream)  # first: under a cancelled scope it would hide the exception
            nursery.cancel_scope.cancel()


class WebSocketTransport:
    """A ``Transport`` over one trio-websocket connection."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection, reader: _Reader) -> None:
        self._websocket = websocket
        self._reader = reader

    async def send(self, frame: str) -> None:
        """Send one text frame."""
        try:
            await self._websocket.send_message(frame)
        except (trio_websocket.ConnectionClosed, wsproto.utilities.LocalProtocolError) as error:
            raise self._lost(error) from None

    async def receive(self) -> str | bytes:
        """Return the next frame."""
        try:
            return await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise self._lost(error) from None

    async def close(self, code: int, reason: str) -> None:
        """Close with this code."""
        with trio.move_on_after(CLOSE_S):
            await self._reader.race(functools.partial(self._websocket.aclose, code, reason[:100]))

    def _lost(self, error: Exception) -> LinkLost:
        closed = self._websocket.closed
        if closed is None or closed.code == ABNORMAL:
            return LinkLost(ABNORMAL, self._reader.fault or "the connection broke")
        return LinkLost(closed.code, closed.reason or closed.name)


class _Reader:
    """Stands in for the nursery that trio-websocket starts its reader in, so that the reader's faults stay here."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._done = trio.Event()
        self.fault: str | None = None
        self.rejected: int | None = None  # HTTP status

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        """Run the connection's reader; trio-websocket calls this once."""
        self._nursery.start_soon(self._contain, reader)

    async def _contain(self, reader: Callable[[], Awaitable[None]]) -> None:
        try:
            await reader()
        except trio_websocket.ConnectionRejected as error:
            self.rejected = error.status_code
        except (trio_websocket.ConnectionClosed, wsproto.utilities.ProtocolError, h11.ProtocolError) as error:
            self.fault = str(error) or type(error).__name__
        finally:
            self._done.set()

    async def race(self, action: Callable[[], Awaitable[Any]]) -> Any:
        """Return what ``action`` returns, or None once there is no reader left to finish it."""
        result = None
        async with trio.open_nursery() as nursery:

            async def act() -> None:
                nonlocal result
                result = await action()
                nursery.cancel_scope.cancel()

            nursery.start_soon(act)
            await self._done.wait()
            nursery.cancel_scope.cancel()
        return result


@contextlib.contextmanager
def _deadline(seconds: float) -> Any:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise LinkLost(ABNORMAL, f"no answer within {seconds:g} s") from None


async def _open_stream(url: str) -> _Stream:
    parts = urlsplit(url)
    assert parts.hostname is not None  # GatewayUrl has checked it
    try:
        if parts.scheme == "ws":
            return await trio.open_tcp_stream(parts.hostname, parts.port or 80)
        stream = await trio.open_ssl_over_tcp_stream(
            parts.hostname, parts.port or 443, ssl_context=ssl.create_default_context(), https_compatible=True
        )
        try:
            await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
    except (OSError, UnicodeError, trio.BrokenResourceError) as error:  # UnicodeError: no host can have that name
        fault = error.__cause__
        dated = isinstance(fault, ssl.SSLCertVerificationError) and fault.verify_code in _DATES
        raise LinkLost(ABNORMAL, explain(error), dated=dated) from None
    return stream


async def _open(
    nursery: trio.Nursery, url: str, token: str, *, in_query: bool
) -> tuple[_Stream, _Reader, trio_websocket.WebSocketConnection]:
    with _deadline(HANDSHAKE_S):
        stream = await _open_stream(url)
    reader = _Reader(nursery)
    try:
        with _deadline(HANDSHAKE_S):
            return stream, reader, await _handshake(reader, stream, url, token, in_query)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _handshake(
    reader: _Reader, stream: _Stream, url: str, token: str, in_query: bool
) -> trio_websocket.WebSocketConnection:
    parts = urlsplit(url)
    websocket = await reader.race(
        functools.partial(
            trio_websocket.wrap_client_stream,
            cast(trio.Nursery, reader),
            stream,
            parts.netloc,
            f"{parts.path}?token={quote(token, safe='')}" if in_query else parts.path,
            subprotocols=[SUBPROTOCOL],
            extra_headers=[(b"Authorization", f"Bearer {token}".encode())],
            max_message_size=MAX_FRAME_BYTES,
            receive_buffer_size=_RECEIVE_BYTES,
        )
    )
    if reader.rejected in _REFUSED:
        raise LinkLost(CloseCode.AUTHENTICATION_FAILED, f"HTTP {reader.rejected} at the handshake")
    if reader.rejected is not None:
        raise LinkLost(ABNORMAL, f"HTTP {reader.rejected} at the handshake: is this a gateway's address?")
    if websocket is None:
        why = "closed the connection during the handshake" if reader.fault is None else "is not a gateway"
        raise LinkLost(ABNORMAL, f"what answers there {why}")
    return cast(trio_websocket.WebSocketConnection, websocket)

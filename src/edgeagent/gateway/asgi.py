"""The gateway on its port: hypercorn for the protocols, one application for the relay and one for REST.

Hypercorn's own ``serve`` cuts open sockets 3 s after its shutdown begins, and waits for ever for a peer that does not
read; so its per-connection server is driven from here, each connection with a deadline and a way to cut it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from edgeagent.gateway import connection
from edgeagent.gateway.connection import Connection, Stream
from edgeagent.gateway.foreign import ForeignSession
from edgeagent.gateway.gate import Gate
from edgeagent.gateway.http1 import Http1, refusal
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.proxies import client_of, scheme_of
from edgeagent.gateway.relay import Opening, relay
from edgeagent.gateway.texts import one_line
from edgeagent.gateway.tls import HANDSHAKE_S, SecureConnection
from edgeagent.gateway.websocket import WebSocket
from edgeagent.wire.urls import API_PREFIX

log = structlog.get_logger()

RELAY_PREFIX = f"{API_PREFIX}/relay/ws/"
#: Seconds that a request's body may take to come, and the bytes that buy one second more.
RECEIVE_S = 30.0
MIN_BYTES_S = 4096
#: Seconds that a refused request may go on sending its body.
DRAIN_S = 5.0
#: Seconds without a piece of it after which it is not waited for.
PAUSE_S = 0.5
#: Seconds that a connection may be open with no request, or with one whose header does not end.
IDLE_S = 5.0
#: Seconds for a look at what came before those were over; it is there already.
LATE_S = 0.01
#: Seconds to tell a connection that it is one too many.
TURN_AWAY_S = 1.0

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def application(hub: Hub, rest: App) -> App:
    """Return the application that gives the relay its links, and everything else to ``rest``."""

    trusted = hub.settings.trusted_proxies

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if trusted and scope.get("client"):
            peer, port = scope["client"]
            scope["client"] = (client_of(peer, _values(scope, b"x-forwarded-for"), trusted), port)
            if scope["type"] == "http":
                said = _values(scope, b"x-forwarded-proto")
                scope["scheme"] = scheme_of(peer, said, trusted, scope["scheme"])
        if scope["type"] == "http":
            request = _Request(receive, send)
            await rest(scope, request.receive, request.send)
        elif scope["type"] == "websocket" and scope["path"].startswith(RELAY_PREFIX):
            await _hand_over(hub, scope, send)
        else:
            await send({"type": "websocket.close"})

    return app


def _values(scope: Scope, header: bytes) -> list[str]:
    """Return a header's values, in order."""
    return [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == header]


async def _hand_over(hub: Hub, scope: Scope, send: Send) -> None:
    """Accept a link, and take its connection from hypercorn, which has done what it is there for: the handshake."""
    stream = cast(WSStream, cast(Any, send).__self__)
    # Hypercorn accepts permessage-deflate from whoever offers it and has no setting against that.  It costs about
    # 100 KiB for each link, and lets a small frame become a large one before anybody can look at it.
    stream.handshake.extensions = None
    opening = Opening.of(scope)
    await send({"type": "websocket.accept", "subprotocol": opening.subprotocol})
    stream.closed = True  # hypercorn says nothing more on it

    async def link(held: Connection) -> None:
        await relay(hub, opening, WebSocket(held), ForeignSession)

    connection.current.get().link = link


class _Request:
    """One request's two channels, with patience: for a body that comes slowly, and for a peer that is still sending.

    An answer's head goes with the first piece of its body, in one write.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._complete = False
        self._patience_s = RECEIVE_S
        self._head: dict[str, Any] | None = None  # of the answer, until its body begins

    async def receive(self) -> dict[str, Any]:
        """Return the next piece of the body; one that comes too slowly costs the connection.

        Only the time that was waited for the peer counts, not what the application takes for what has come.
        """
        if self._complete:
            return await self._receive()  # nothing but the disconnect is still to come
        began = trio.current_time()
        with trio.move_on_after(self._patience_s):
            event = await self._receive()
            self._complete = not event.get("more_body", False)
            waited_s = trio.current_time() - began
            self._patience_s += len(event.get("body", b"")) / MIN_BYTES_S - waited_s
            return event
        connection.current.get().cut()
        return {"type": "http.disconnect"}

    async def send(self, event: dict[str, Any]) -> None:
        """Send, but first let the peer finish: closing on what it is still sending would lose it the answer."""
        if event["type"] == "http.response.start":
            if not self._complete:
                await self._drain()
            self._head = event
            return
        held, head, self._head = connection.current.get(), self._head, None
        try:
            async with held.together():
                if head is not None:
                    await self._send(head)
                await self._send(event)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            held.cut()  # the peer is gone

    async def _drain(self) -> None:
        with trio.move_on_after(DRAIN_S):
            while not self._complete:
                with trio.move_on_after(PAUSE_S) as pause:
                    await self.receive()
                if pause.cancelled_caught:
                    return  # it waits for the answer before it sends more


def busy() -> bytes:
    """Return what a connection hears that is one too many."""
    headers, body = refusal(503)
    lines = [b"HTTP/1.1 503 ", b"retry-after: 5", *(name + b": " + value for name, value in headers)]
    return b"\r\n".join([*lines, b"", body])


class _OneAtATime(TCPServer):
    """Serves requests, one after the other, until the connection ends or is to become a link."""

    _patience: trio.CancelScope | None = None  # while something is read
    _idle_until = math.inf
    _late = _ended = False

    async def _read_data(self) -> None:
        """Read as hypercorn does, but nothing that comes after the handshake of a WebSocket."""
        http = self.protocol.protocol = Http1.instead(self.protocol)
        self._idle(trio.current_time() + IDLE_S)
        while (data := await self._receive()) is not None:
            await http.handle(RawData(bytes(data)))
            stream = http.stream
            if isinstance(stream, WSStream) and stream.app_put is not None and not stream.closed:
                return  # the application accepts or refuses it, and ends; so does hypercorn
            if not data:
                break
        self._ended = True
        await self.idle_task.stop()
        await self.protocol.handle(Closed())

    async def _receive(self) -> bytes | bytearray | None:
        """Return what comes, or nothing at its end; None once the connection is over, or was idle for too long.

        Hypercorn times a task beside the one that reads, and its time also runs out while a busy gateway has not got
        round to what is there: that cut handshakes in the middle.  So time counts where it is read, and what is there
        when it is over was in time.
        """
        stream = cast(Connection, self.stream)
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            with trio.CancelScope(deadline=self._idle_until) as self._patience:
                return await stream.receive_some(MAX_RECV)
            if not self._late:
                self._late = True  # once: a header that drips is not waited for
                with trio.move_on_after(LATE_S):
                    return await stream.receive_some(MAX_RECV)
        return None

    def _idle(self, until: float) -> None:
        self._idle_until, self._late = until, False
        if self._patience is not None:
            self._patience.deadline = until

    async def _close(self) -> None:
        """Close, unless there is a link to come."""
        if cast(Connection, self.stream).link is None:
            await super()._close()

    async def protocol_send(self, event: Event) -> None:
        """Send, and note when a request begins and ends."""
        if isinstance(event, Updated):
            if self._ended:
                return  # nobody would stop the task that waits for an idle connection's end
            self._idle(trio.current_time() + IDLE_S if event.idle else math.inf)
        await super().protocol_send(event)


def _peer(socket: Any) -> str:
    """Return the address that a connection comes from; empty where it has none, or is gone already."""
    try:
        name = socket.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


class Server:
    """Serves one application on streams, each until it ends or is cut; over TLS where it is told how.

    ``gate`` says how many connections may be open; without one, as many as come.
    """

    def __init__(self, app: App, tls: ssl.SSLContext | None = None, gate: Gate | None = None) -> None:
        self._tls = tls
        self._gate = Gate(math.inf, math.inf) if gate is None else gate
        self._app = ASGIWrapper(cast(Any, app))
        self._config = Config()
        self._config.errorlog = logging.getLogger("hypercorn.error")
        self._config.include_server_header = False
        self._config.max_app_queue_size = 2
        self._config.keep_alive_timeout = cast(int, math.inf)  # see ``_OneAtATime._receive``
        self._config.ssl_handshake_timeout = HANDSHAKE_S
        self._context = WorkerContext(None)
        self._open: set[Connection] = set()
        self._emptied = trio.Event()

    async def serve(self, stream: Stream, socket: Any) -> None:
        """Serve one connection until it ends; its stream is closed then."""
        source = self._gate.enter(_peer(socket))
        if source is None:
            await self._turn_away(stream)
            return
        try:
            await self._serve(stream, socket)
        finally:
            self._gate.leave(source)

    async def _turn_away(self, stream: Stream) -> None:
        """End a connection that is one too many; over TLS there are no words for that."""
        with trio.move_on_after(TURN_AWAY_S), contextlib.suppress(OSError, trio.BrokenResourceError):
            if self._tls is None:
                await stream.send_all(busy())
        await trio.aclose_forcefully(cast(trio.abc.AsyncResource, stream))

    async def _serve(self, stream: Stream, socket: Any) -> None:
        served = SecureConnection(stream, socket, self._tls) if self._tls else Connection(stream, socket)
        connection.current.set(served)
        if not self._open:
            self._emptied = trio.Event()
        self._open.add(served)
        try:
            with served.scope:
                await _OneAtATime(self._app, self._config, self._context, ConnectionState({}), cast(Any, served)).run()
                if served.link is not None:
                    await served.link(served)
        except* Exception as group:
            # Hypercorn raises out of some malformed requests.  A stranger's bytes cost him his connection, not
            # everybody theirs; what fails in the application itself, hypercorn has logged with its traceback.
            log.warning("Connection failed", reason=one_line(repr(group.exceptions[0])))
        finally:
            self._open.discard(served)
            if not self._open:
                self._emptied.set()
            # Cancelled, hypercorn leaves the stream open.
            await trio.aclose_forcefully(cast(trio.abc.AsyncResource, stream))

    async def run(
        self,
        listener: trio.SocketListener,
        *,
        handler_nursery: trio.Nursery,
        task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve what ``listener`` accepts in ``handler_nursery`` until cancelled; what is open then goes on."""

        async def serve(stream: trio.SocketStream) -> None:
            await self.serve(stream, stream.socket)

        await trio.serve_listeners(serve, [listener], handler_nursery=handler_nursery, task_status=task_status)

    async def finish(self, grace_s: float) -> None:
        """Let open connections end what they are doing, at most for ``grace_s`` seconds; then cut them."""
        await self._context.terminated.set()
        if self._open:
            with trio.move_on_after(grace_s):
                await self._emptied.wait()
        for open_still in self._open:
            open_still.cut()

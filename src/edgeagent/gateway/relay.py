"""A node's link: the WebSocket of one session, as a raw ASGI application.

One task for each link hears and acts on what the node says; another one sends, as long as something waits.  A peer that
falls silent, breaks the protocol or does not take what it is sent loses its link, and nobody waits for it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, unquote

import structlog
import trio

from edgeagent import chance
from edgeagent.gateway import auth
from edgeagent.gateway.connection import Carrier
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.limits import Meter, Rate
from edgeagent.gateway.store import StoreUnavailableError
from edgeagent.gateway.texts import one_line
from edgeagent.wire.codec import LocalProtocolError, RemoteProtocolError
from edgeagent.wire.identity import InvalidTokenError, NodeClaims
from edgeagent.wire.link import SUBPROTOCOL, CloseCode, Link, Role, State
from edgeagent.wire.messages import (
    Bye,
    Drain,
    Heartbeat,
    Hello,
    JobAccept,
    JobDecline,
    JobProgress,
    JobResult,
    Message,
)

log = structlog.get_logger()

#: Messages that may wait for one node; more means that it does not take them.
MAX_WAITING = 512
#: Most messages in one frame; a dispatch can carry a quarter of a MiB, which the link checks.
MAX_BATCH = 64
#: Seconds that the peer has to answer our close frame.
CLOSE_S = 2.0
#: Most job types that a node may offer, and their length, which is also REST's.
MAX_CAPABILITIES, MAX_CAPABILITY = 64, 100

E = TypeVar("E", bound=BaseException)
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Ended(Exception):  # noqa: N818 -- how a link ends, not an error
    """The link is over; ``code`` None where the peer has gone already."""

    def __init__(self, code: CloseCode | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


async def relay(
    hub: Hub, scope: dict[str, Any], receive: Receive, send: Send, connection: Carrier, foreign: type[Session]
) -> None:
    """Serve one WebSocket from its handshake to its close; ``foreign`` where the node offers no subprotocol."""
    if (await receive())["type"] != "websocket.connect":
        return
    connection.heard()
    offered = SUBPROTOCOL in scope["subprotocols"]
    session = Session if offered else foreign
    await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None})
    try:
        claims = _authenticate(hub, scope)
        await session(hub, receive, send, connection).run(claims)
    except Ended as ended:
        log.info("Link closed", code=ended.code, reason=ended.reason, node_id=_node_id(scope))
        if ended.code is not None:
            await send({"type": "websocket.close", "code": int(ended.code), "reason": _short(ended.reason)})
            await _until_gone(receive)
    finally:
        connection.cut()


def _authenticate(hub: Hub, scope: dict[str, Any]) -> NodeClaims:
    header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    query = parse_qs(scope["query_string"].decode("latin-1"))
    token = auth.bearer(header) or next(iter(query.get("token", [])), None)
    if token is None:
        raise Ended(CloseCode.AUTHENTICATION_FAILED, "no token")
    try:
        claims = hub.members.authenticate(token)
    except InvalidTokenError as error:
        raise Ended(CloseCode.AUTHENTICATION_FAILED, str(error)) from None
    if claims.node_id != _node_id(scope):
        raise Ended(CloseCode.AUTHENTICATION_FAILED, "the token is another node's")
    if scope["subprotocols"] and SUBPROTOCOL not in scope["subprotocols"]:
        raise Ended(CloseCode.PROTOCOL_ERROR, f"offer the subprotocol {SUBPROTOCOL}, or none")
    if hub.openings.wait_s(claims.node_id, trio.current_time()):
        raise Ended(CloseCode.FLOOD, "the node opens links too often")
    return claims


class Session:
    """One link; what ``network.Session`` promises to the rest of the gateway."""

    def __init__(self, hub: Hub, receive: Receive, send: Send, connection: Carrier) -> None:
        self._hub = hub
        self._receive, self._send, self._connection = receive, send, connection
        now, ceilings = trio.current_time(), hub.settings.ceilings
        self._link = Link(Role.GATEWAY, now)
        self._messages = Meter(Rate.of(ceilings.messages_each), now)
        self._bytes = Meter(Rate.of(ceilings.link_bytes_each), now)
        self._waiting: list[Message] = []
        self._writing = True  # nothing before the greeting
        self._nursery: trio.Nursery | None = None
        self._ended: Ended | None = None
        self._claims: NodeClaims

    def send(self, *messages: Message) -> None:
        """Have messages sent in this order."""
        if len(self._waiting) + len(messages) > MAX_WAITING:
            self.close(CloseCode.HEARTBEAT_TIMEOUT, "the node does not take what it is sent")
            return
        self._waiting += messages
        if not self._writing and self._nursery is not None:
            self._writing = True
            self._nursery.start_soon(self._write)

    def close(self, code: CloseCode, reason: str) -> None:
        """End the link."""
        if self._ended is None:
            self._ended = Ended(code, reason)
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()

    async def run(self, claims: NodeClaims) -> None:
        """Hold the session until it ends, which raises ``Ended``."""
        self._claims = claims
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._greet()
                self._opened(nursery)
                await self._read()
        except* Ended as group:
            self._ended = self._ended or _first(group)
        except* StoreUnavailableError as group:
            self._ended = self._ended or Ended(CloseCode.RESTARTING, str(_first(group)))
        finally:
            self._nursery = None
            self._hub.network.unlink(claims.node_id, self)
        if self._ended is None:  # the nursery's own deadline, see ``_frame``
            self._ended = Ended(CloseCode.HEARTBEAT_TIMEOUT, "nothing heard from the node for too long")
        if self._ended.code is CloseCode.RESTARTING and self._link.state is State.OPEN:
            await self._send({"type": "websocket.send", "text": self._link.send(self._bye())})
        raise self._ended

    async def _greet(self) -> None:
        (hello, *early) = await self._hear()
        if not isinstance(hello, Hello) or early:
            raise Ended(CloseCode.PROTOCOL_ERROR, "the node says hello, and waits for welcome")
        if len(hello.capabilities) > MAX_CAPABILITIES or any(
            not 1 <= len(one) <= MAX_CAPABILITY or not one.isprintable() for one in hello.capabilities
        ):
            raise Ended(
                CloseCode.PROTOCOL_ERROR,
                f"a node offers at most {MAX_CAPABILITIES} job types, each of 1 to {MAX_CAPABILITY} characters",
            )
        token = self._renewal()
        welcome = await self._hub.greet(self._claims.node_id, hello, self, token)
        await self._send({"type": "websocket.send", "text": self._link.send(welcome)})

    def _opened(self, nursery: trio.Nursery) -> None:
        """The greeting is over: from now on messages are sent."""
        nursery.start_soon(self._write)

    async def _read(self) -> None:
        while True:
            messages = await self._hear()
            unasked = sum(not self._asked(message) for message in messages) if messages else 1
            if unasked and not self._messages.take(unasked, trio.current_time()):
                raise Ended(CloseCode.FLOOD, "the node says too much that it was not asked for")
            # Shielded: what reached the store must reach memory too.  Both take milliseconds.
            with trio.CancelScope(shield=True):
                for _, run in itertools.groupby(messages, type):
                    await self._act_all(list(run))

    def _asked(self, message: Message) -> bool:
        """Return whether the message answers a dispatch, for the first time: of those there are as many as we sent."""
        if not isinstance(message, JobAccept | JobDecline | JobResult):
            return False
        flight = self._hub.network.flight(message.attempt_id)
        if flight is None or flight.node_id != self._claims.node_id:
            return False
        return not (flight.accepted and isinstance(message, JobAccept))

    async def _act_all(self, run: list[Message]) -> None:
        """Act on messages of one kind that came together; a burst of answers shares one commit."""
        for start in range(0, len(run), MAX_BATCH):
            some = run[start : start + MAX_BATCH]  # their answers must find room
            match some[0]:
                case JobAccept() if self._is_current:
                    await self._hub.accept(self._claims.node_id, cast(list[JobAccept], some), self)
                case JobResult():
                    await self._hub.result(self._claims.node_id, cast(list[JobResult], some), self)
                case _:
                    for message in some:
                        await self._act(message)

    @property
    def _is_current(self) -> bool:
        """Whether no newer link of the node has replaced this one; the newer one says how the node is."""
        return self._hub.network.session(self._claims.node_id) is self

    async def _hear(self) -> tuple[Message, ...]:
        frame = await self._frame()
        try:
            return self._link.receive(frame, trio.current_time())
        except RemoteProtocolError as error:
            raise Ended(CloseCode.PROTOCOL_ERROR, str(error)) from None

    def _silent_at(self) -> float:
        return self._link.silent_at()

    async def _frame(self) -> str | bytes:
        assert self._nursery is not None
        scope = self._nursery.cancel_scope  # one of its own would be a KiB for each link
        scope.deadline = self._silent_at()
        event = await self._receive()
        scope.deadline = math.inf
        if event["type"] == "websocket.disconnect":
            raise Ended(None, "the node is gone")
        self._connection.heard()
        frame: str | bytes | None = event.get("text")
        if frame is None:
            frame = event["bytes"]
        assert frame is not None  # hypercorn fills one of the two
        if not self._bytes.take(len(frame), trio.current_time()):
            raise Ended(CloseCode.FLOOD, "the node sends too many bytes")
        return frame

    async def _act(self, message: Message) -> None:
        hub, node_id = self._hub, self._claims.node_id
        if not self._is_current and not isinstance(message, JobDecline):
            return
        match message:
            case Heartbeat():
                await hub.beat(node_id, message, self, self._renewal())
            case JobDecline():
                await hub.decline(node_id, message)
            case JobProgress():
                hub.progress(node_id, message)
            case Drain():
                log.info("Node drains", node_id=node_id, reason=one_line(message.reason))
                hub.network.drain(node_id)
            case Bye():
                await self._send({"type": "websocket.send", "text": self._link.send(Bye(reason="goodbye"))})
                raise Ended(CloseCode.NORMAL, "the node said bye")

    async def _write(self) -> None:
        """Send what waits, and end: a link on which nothing is sent needs no task for it."""
        while self._waiting:
            batch = self._waiting[:MAX_BATCH]
            del self._waiting[:MAX_BATCH]
            await self._say(batch)
        self._writing = False

    async def _say(self, batch: list[Message]) -> None:
        for frame in self._frames(batch):
            await self._send({"type": "websocket.send", "text": frame})

    def _frames(self, batch: list[Message]) -> list[str]:
        if self._link.state is not State.OPEN:
            return []  # the node has said bye
        try:
            return [self._link.send(*batch)]
        except LocalProtocolError:  # too large together
            return [self._link.send(message) for message in batch]

    def _renewal(self) -> str | None:
        token = self._hub.tokens.renewal(self._claims)
        if token is not None:
            self._claims = self._hub.tokens.check(token)
        return token

    def _bye(self) -> Bye:
        # Spread, so that a restarted gateway does not meet all its nodes in the same moment.
        links = len(self._hub.network.sessions())
        return Bye(reason="the gateway restarts", back_s=round(1.0 + chance.rng().random() * links / 100, 2))


def _first(group: BaseExceptionGroup[E]) -> E:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _node_id(scope: dict[str, Any]) -> str:
    return unquote(scope["path"].rpartition("/")[2])


def _short(reason: str) -> str:
    """A close frame has room for 123 bytes of reason (RFC 6455, section 5.5)."""
    return one_line(reason, 120).encode()[:123].decode(errors="ignore")


async def _until_gone(receive: Receive) -> None:
    """Throw away what the peer still sends until it has closed too, for at most ``CLOSE_S``."""
    with trio.move_on_after(CLOSE_S):
        while (await receive())["type"] != "websocket.disconnect":
            pass

"""A node's link: one session, from what its handshake said to its close.

One task for each link hears and acts on what the node says; another one sends, as long as something waits.  A peer that
falls silent, breaks the protocol or does not take what it is sent loses its link, and nobody waits for it.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import parse_qs, unquote

import attrs
import orjson
import structlog
import trio

from edgeagent import chance
from edgeagent.gateway import auth
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
    JobDispatch,
    JobProgress,
    JobResult,
    Message,
)

log = structlog.get_logger()

#: Messages that may wait for one node; more means that it does not take them.
MAX_WAITING = 512
#: Bytes of jobs that may wait for one node, about thirty of the largest; what is more goes back to the queue.
MAX_WAITING_BYTES = 8 << 20
#: What one input of a job takes at most: its name, reference and digest.
MAX_INPUT_BYTES = 3200
#: Most messages in one frame; a dispatch can carry a quarter of a MiB, which the link checks.
MAX_BATCH = 64
#: Most job types that a node may offer, and their length, which is also REST's.
MAX_CAPABILITIES, MAX_CAPABILITY = 64, 100

E = TypeVar("E", bound=BaseException)


class Ended(Exception):  # noqa: N818 -- how a link ends, not an error
    """The link is over; ``code`` None where the peer has gone already."""

    def __init__(self, code: CloseCode | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


@attrs.frozen
class Opening:
    """What the handshake of a link said: whose it is to be, the token for that, and the subprotocols it may speak."""

    node_id: str
    token: str | None
    subprotocols: tuple[str, ...]

    @classmethod
    def of(cls, scope: dict[str, Any]) -> Opening:
        """Return what a WebSocket's scope says."""
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        token = auth.bearer(header) or next(iter(query.get("token", [])), None)
        return cls(unquote(scope["path"].rpartition("/")[2]), token, tuple(scope["subprotocols"]))

    @property
    def subprotocol(self) -> str | None:
        """Which of them the gateway takes; None for the other dialect, which has no name."""
        return SUBPROTOCOL if SUBPROTOCOL in self.subprotocols else None


class Line(Protocol):
    """What carries a link."""

    async def receive(self) -> str | bytes | None:
        """Return the next message; None once there will be no more."""
        ...

    async def send(self, text: str) -> None:
        """Send a message, whole or not at all."""

    async def close(self, code: int, reason: str) -> None:
        """Close, and give the peer time to hear why."""

    def cut(self) -> None:
        """End it, whatever it is doing."""


async def relay(hub: Hub, opening: Opening, line: Line, foreign: type[Session]) -> None:
    """Serve one link until its close; ``foreign`` where the node offered no subprotocol."""
    session = Session if opening.subprotocol else foreign
    try:
        claims = _authenticate(hub, opening)
        await session(hub, line).run(claims)
    except Ended as ended:
        log.info("Link closed", code=ended.code, reason=ended.reason, node_id=opening.node_id)
        if ended.code is not None:
            await line.close(int(ended.code), _short(ended.reason))
    finally:
        line.cut()


def _authenticate(hub: Hub, opening: Opening) -> NodeClaims:
    if opening.token is None:
        raise Ended(CloseCode.AUTHENTICATION_FAILED, "no token")
    try:
        claims = hub.members.authenticate(opening.token)
    except InvalidTokenError as error:
        raise Ended(CloseCode.AUTHENTICATION_FAILED, str(error)) from None
    if claims.node_id != opening.node_id:
        raise Ended(CloseCode.AUTHENTICATION_FAILED, "the token is another node's")
    if opening.subprotocols and opening.subprotocol is None:
        raise Ended(CloseCode.PROTOCOL_ERROR, f"offer the subprotocol {SUBPROTOCOL}, or none")
    if hub.openings.wait_s(claims.node_id, trio.current_time()):
        raise Ended(CloseCode.FLOOD, "the node opens links too often")
    return claims


class Session:
    """One link; what ``network.Session`` promises to the rest of the gateway."""

    def __init__(self, hub: Hub, line: Line) -> None:
        self._hub, self._line = hub, line
        now, ceilings = trio.current_time(), hub.settings.ceilings
        self._link = Link(Role.GATEWAY, now)
        self._messages = Meter(Rate.of(ceilings.messages_each), now)
        self._bytes = Meter(Rate.of(ceilings.link_bytes_each), now)
        self._waiting: list[tuple[Message, int]] = []  # with the bytes of what can be large
        self._writing = True  # nothing before the greeting
        self._nursery: trio.Nursery | None = None
        self._ended: Ended | None = None
        self._claims: NodeClaims

    def send(self, *messages: Message) -> None:
        """Have messages sent in this order."""
        if len(self._waiting) + len(messages) > MAX_WAITING:
            self.close(CloseCode.HEARTBEAT_TIMEOUT, "the node does not take what it is sent")
            return
        for message in messages:
            size = _size(message)
            if size and size + sum(waiting for _, waiting in self._waiting) > MAX_WAITING_BYTES:
                self._return(cast(JobDispatch, message))
            else:
                self._waiting.append((message, size))
        if not self._writing and self._nursery is not None:
            self._writing = True
            self._nursery.start_soon(self._write)

    def _return(self, dispatch: JobDispatch) -> None:
        """Give a job back: the node has not taken what it was sent before."""
        if self._nursery is not None:  # otherwise the link is over, and the hub finds that out
            self._nursery.start_soon(self._decline, dispatch, "the node has not taken what it was sent before")

    async def _decline(self, dispatch: JobDispatch, reason: str) -> None:
        with trio.CancelScope(shield=True):  # as with what a node says itself, see ``_act_on``
            await self._hub.decline(self._claims.node_id, JobDecline(attempt_id=dispatch.attempt_id, reason=reason))

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
            await self._line.send(self._link.send(self._bye()))
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
        if hello.yields and self._hub.network.session(self._claims.node_id) is not None:
            raise Ended(CloseCode.REPLACED, "another link of the same node stands")
        token = self._renewal()
        welcome = await self._hub.greet(self._claims.node_id, hello, self, token)
        await self._line.send(self._link.send(welcome))

    def _opened(self, nursery: trio.Nursery) -> None:
        """The greeting is over: from now on messages are sent."""
        nursery.start_soon(self._write)

    async def _read(self) -> None:
        while True:
            await self._act_on(await self._hear())  # nothing of it is kept while the next is waited for

    async def _act_on(self, messages: tuple[Message, ...]) -> None:
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
        frame = await self._line.receive()
        scope.deadline = math.inf
        if frame is None:
            raise Ended(None, "the node is gone")
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
                await self._line.send(self._link.send(Bye(reason="goodbye")))
                raise Ended(CloseCode.NORMAL, "the node said bye")

    async def _write(self) -> None:
        """Send what waits, and end: a link on which nothing is sent needs no task for it."""
        while self._waiting:
            batch = [message for message, _ in self._waiting[:MAX_BATCH]]
            del self._waiting[:MAX_BATCH]
            await self._say(batch)
        self._writing = False

    async def _say(self, batch: list[Message]) -> None:
        for frame in self._frames(batch):
            await self._line.send(frame)

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


def _size(message: Message) -> int:
    """Return the bytes that a job's payload and inputs take; 0 for a message that is never large."""
    if not isinstance(message, JobDispatch):
        return 0
    return len(orjson.dumps(message.payload)) + len(message.inputs) * MAX_INPUT_BYTES


def _short(reason: str) -> str:
    """A close frame has room for 123 bytes of reason (RFC 6455, section 5.5)."""
    return one_line(reason, 120).encode()[:123].decode(errors="ignore")

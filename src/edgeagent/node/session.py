"""One link's life: Hello, Welcome, then messages both ways until it is lost or left.

Four tasks beside each other, so that nothing waits for anything else: one reads, one writes what the outbox holds, one
says the heartbeat, one watches for silence.  Whichever ends the session raises ``LinkLost``; ``wire.link.Link`` decides
what may be said when.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import structlog
import trio

from edgeagent.node.outbox import Outbox
from edgeagent.node.transport import LinkLost, Transport, most_telling
from edgeagent.wire.codec import RemoteProtocolError
from edgeagent.wire.link import CloseCode, Link, Role, State
from edgeagent.wire.messages import (
    Bye,
    Drain,
    Heartbeat,
    HeartbeatAck,
    Hello,
    JobCancel,
    JobDispatch,
    JobResultAck,
    JobVerdict,
    Message,
    Welcome,
)

log = structlog.get_logger()


class Node(Protocol):
    """What the session needs of the rest of the node; every call returns at once."""

    def hello(self) -> Hello:
        """Return the first message of a link."""
        ...

    def heartbeat(self, seq: int) -> Heartbeat:
        """Return how the node is now."""
        ...

    async def changed(self) -> None:
        """Wait until the gateway should hear of the node before the next heartbeat is due."""

    def dispatched(self, dispatch: JobDispatch) -> None:
        """The gateway wants this run."""

    def cancelled(self, attempt_id: str, reason: str) -> None:
        """The gateway does not want this attempt any more."""

    def acknowledged(self, ack: JobResultAck) -> None:
        """The gateway has a result."""

    def judged(self, verdict: JobVerdict) -> None:
        """The gateway has compared a result that it had held."""

    def renewed(self, token: str) -> None:
        """The gateway gave a fresh token."""


@attrs.define(eq=False)
class Session:
    """What survives from link to link."""

    node: Node
    outbox: Outbox
    draining: str | None = None  # why, once the node takes no more work
    leaving: str | None = None  # why, once Bye is to be said
    connected: bool = False  # Welcome was said, and the link stands
    turned_at: float = attrs.field(factory=trio.current_time)  # when the link came up, or was lost, last
    lost: str = ""  # why it was lost last
    acknowledged: HeartbeatAck | None = None  # the last one
    acknowledged_at: float | None = None  # seconds on trio's clock
    welcomed: bool = False  # Welcome was said on this link, or the last one
    yields: bool = False  # a newer link of this node has replaced ours: no other one is to be replaced by ours

    def drain(self, reason: str) -> None:
        """Tell the gateway, now and on every later link, that no new work is taken."""
        self.draining = reason
        self.outbox.say(Drain(reason=reason))

    def leave(self, reason: str) -> None:
        """Say Bye; ``run`` returns once the gateway has answered it."""
        self.leaving = reason
        self.outbox.say(Bye(reason=reason))

    async def run(self, transport: Transport) -> None:
        """Hold a session over ``transport`` until it is left.

        Raises:
            LinkLost: by the gateway, the network, or silence.
        """
        link = Link(Role.NODE, trio.current_time())
        lost: LinkLost | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, link)
                await transport.send(link.send(attrs.evolve(self.node.hello(), yields=self.yields)))
                await self._greet(link, transport)
                nursery.start_soon(self._write, link, transport)
                nursery.start_soon(self._beat, link)
                await self._read(link, transport)
                nursery.cancel_scope.cancel()
        except* LinkLost as group:
            lost = most_telling(group)
        finally:
            if self.connected:
                self.turned_at = trio.current_time()
            self.connected = False
            self.outbox.close()
        if lost is not None:
            if lost.ours:
                await transport.close(lost.code, lost.reason)
            raise lost

    async def _greet(self, link: Link, transport: Transport) -> None:
        while link.state is State.GREETED:
            for message in await _next(link, transport):
                if isinstance(message, Welcome):
                    log.info("Connected to relay server", heartbeat_s=message.heartbeat_s, lease_s=message.lease_s)
                    self.connected = self.welcomed = True
                    self.yields = False
                    self.turned_at = trio.current_time()
                    self.outbox.open()
                    self._settle(message)
                else:
                    self._handle(message)

    def _settle(self, welcome: Welcome) -> None:
        if welcome.token is not None:
            self.node.renewed(welcome.token)
        for attempt_id in welcome.drop:
            self.node.cancelled(attempt_id, "the gateway has given the job to another node")
        if self.draining is not None:
            self.outbox.say(Drain(reason=self.draining))
        if self.leaving is not None:
            self.outbox.say(Bye(reason=self.leaving))

    async def _read(self, link: Link, transport: Transport) -> None:
        while link.state is not State.CLOSED:
            for message in await _next(link, transport):
                self._handle(message)

    def _handle(self, message: Message) -> None:
        match message:
            case HeartbeatAck():
                log.info("Heartbeat acknowledged", seq=message.seq, state=message.state.value)
                self.acknowledged, self.acknowledged_at = message, trio.current_time()
                if message.token is not None:
                    self.node.renewed(message.token)
            case JobDispatch():
                self.node.dispatched(message)
            case JobCancel():
                self.node.cancelled(message.attempt_id, message.reason)
            case JobResultAck():
                self.node.acknowledged(message)
            case JobVerdict():
                self.node.judged(message)
            case Drain():
                log.info("The gateway gives no new work", reason=message.reason)
            case Bye() if self.leaving is None:
                raise LinkLost(CloseCode.RESTARTING, message.reason, back_s=message.back_s)
            case _:
                pass  # Bye in answer to ours; the table lets nothing else through

    async def _write(self, link: Link, transport: Transport) -> None:
        while link.state is State.OPEN:
            messages = await self.outbox.take()
            if link.state is State.OPEN:  # the gateway may have said Bye in the meantime
                await transport.send(link.send(*messages))

    async def _beat(self, link: Link) -> None:
        seq = 0
        assert link.heartbeat_s is not None  # Welcome has set it
        while True:
            seq += 1
            self.outbox.say(self.node.heartbeat(seq))
            with trio.move_on_after(link.heartbeat_s):
                await self.node.changed()

    async def _watch(self, link: Link) -> None:
        now = trio.current_time()
        while now < (silent_at := link.silent_at()):
            await trio.sleep_until(silent_at)
            now = trio.current_time()
        raise LinkLost(CloseCode.HEARTBEAT_TIMEOUT, "nothing heard from the gateway for too long", ours=True)


async def _next(link: Link, transport: Transport) -> tuple[Message, ...]:
    frame = await transport.receive()
    try:
        return link.receive(frame, trio.current_time())
    except RemoteProtocolError as error:
        raise LinkLost(CloseCode.PROTOCOL_ERROR, f"the gateway broke the protocol: {error}", ours=True) from None

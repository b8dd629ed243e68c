"""The node's side of a link, spelled out: a node that says what the test says."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeVar

import attrs
import trio
import trio_websocket

from edgeagent.wire import identity
from edgeagent.wire.link import Link, Role
from edgeagent.wire.messages import (
    Heartbeat,
    HeartbeatAck,
    Hello,
    JobAccept,
    JobDispatch,
    JobResult,
    JobResultAck,
    Message,
    Outcome,
    Welcome,
)

M = TypeVar("M", bound=Message)
CAPABILITIES = ("echo", "render")


@attrs.frozen
class Operator:
    """A registered node's identity."""

    node_id: str
    token: str
    private_key: bytes = b""

    @property
    def public_key(self) -> str:
        """What it registered with."""
        return identity.public_key_of(self.private_key)


class Closed(Exception):  # noqa: N818 - what the gateway did, not an error
    """The gateway closed the link."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class Node:
    """One link of a scripted node."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self.websocket = websocket
        self.link = Link(Role.NODE, trio.current_time())
        self._heard: deque[Message] = deque()

    async def say(self, *messages: Message) -> None:
        """Send messages in one frame."""
        await self.websocket.send_message(self.link.send(*messages))

    async def next(self) -> Message:
        """Return the next message; raises ``Closed``."""
        while not self._heard:
            try:
                frame = await self.websocket.get_message()
            except trio_websocket.ConnectionClosed:
                closed = self.websocket.closed
                raise Closed(closed.code, closed.reason or "") from None
            self._heard += self.link.receive(frame, trio.current_time())
        return self._heard.popleft()

    async def hear(self, kind: type[M]) -> M:
        """Return the next message, which is of this kind; acknowledged heartbeats in between are passed over."""
        while True:
            message = await self.next()
            if isinstance(message, kind):
                return message
            assert isinstance(message, HeartbeatAck), f"expected {kind.__name__}, heard {message}"

    async def closed(self) -> Closed:
        """Return how the gateway closes the link; whatever it says before is passed over."""
        try:
            while True:
                await self.next()
        except Closed as closed:
            return closed

    async def greet(self, *, capabilities: tuple[str, ...] = CAPABILITIES, **hello: Any) -> Welcome:
        """Say hello, with what more of it is given, and return the welcome."""
        await self.say(Hello(version="1", capabilities=capabilities, **{"slots": 1, **hello}))
        return await self.hear(Welcome)

    async def beat(self, *running: str, free_slots: int = 1, load: float = 0.0, seq: int = 1) -> HeartbeatAck:
        """Say a heartbeat and return its acknowledgement."""
        await self.say(Heartbeat(seq=seq, load=load, free_slots=free_slots, running=running))
        return await self.hear(HeartbeatAck)

    async def beat_after(self, pause_s: float) -> HeartbeatAck:
        """Wait, then say a heartbeat and return its acknowledgement."""
        await trio.sleep(pause_s)
        return await self.beat()

    async def beat_for_ever(self, free_slots: int = 1) -> None:
        """Beat every 15 s, whatever the gateway says to it."""
        while True:
            await trio.sleep(15)
            await self.say(Heartbeat(seq=1, load=0.0, free_slots=free_slots))

    async def ready(self, *, slots: int = 1, **hello: Any) -> None:
        """Be HEALTHY, with nothing to do."""
        await self.greet(slots=slots, **hello)
        await self.beat(free_slots=slots)

    async def accept(self) -> JobDispatch:
        """Wait for a dispatch and accept it."""
        dispatch = await self.hear(JobDispatch)
        await self.say(JobAccept(attempt_id=dispatch.attempt_id))
        return dispatch

    async def finish(self, dispatch: JobDispatch, outcome: Outcome = Outcome.COMPLETED, **result: Any) -> JobResultAck:
        """Report how an attempt ended, and wait until that is acknowledged."""
        await self.say(JobResult(job_id=dispatch.job_id, attempt_id=dispatch.attempt_id, outcome=outcome, **result))
        return await self.hear(JobResultAck)

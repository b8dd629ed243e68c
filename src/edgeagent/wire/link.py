"""One session between a node and a gateway, as a state machine without I/O.

Both ends run the same machine and feed it every message they send and receive; what the table does not list is
refused and changes nothing.  The caller owns the socket and the clock: it hands in ``now`` and closes the socket when
``silent_at`` has passed or ``state`` is CLOSED.  Called by ``node.relay`` and ``gateway.relay``.
"""

from __future__ import annotations

import enum

from edgeagent.wire.codec import (
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    decode,
    encode,
    type_name,
)
from edgeagent.wire.messages import (
    Bye,
    Drain,
    Heartbeat,
    HeartbeatAck,
    Hello,
    JobAccept,
    JobCancel,
    JobDecline,
    JobDispatch,
    JobProgress,
    JobResult,
    JobResultAck,
    JobVerdict,
    Message,
    Welcome,
)

SUBPROTOCOL = "edge-relay.v1"
#: Seconds that the exchange of Hello and Welcome may take.
HANDSHAKE_S = 10.0
#: Heartbeat intervals without a word from the peer after which the link is over, on either side.
SILENT_INTERVALS = 3


class Role(enum.Enum):
    """Which end of the link."""

    NODE = "the node"
    GATEWAY = "the gateway"

    @property
    def peer(self) -> Role:
        """The other end."""
        return Role.GATEWAY if self is Role.NODE else Role.NODE


class State(enum.Enum):
    """How far the session is."""

    NEW = "new"
    GREETED = "greeted"  # Hello was said
    OPEN = "open"  # Welcome was said
    NODE_LEFT = "node left"  # the node said Bye; what the gateway had sent before it heard is still to come
    GATEWAY_LEFT = "gateway left"
    CLOSED = "closed"


class CloseCode(enum.IntEnum):
    """WebSocket close codes of this protocol; 4001 and 4002 are the operator guide's."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    FLOOD = 1008  # RFC 6455's "policy violation": more than the gateway takes
    RESTARTING = 1012
    AUTHENTICATION_FAILED = 4001
    HEARTBEAT_TIMEOUT = 4002
    REPLACED = 4009


_FROM_NODE: tuple[type[Message], ...] = (Heartbeat, JobAccept, JobDecline, JobProgress, JobResult, Drain)
_FROM_GATEWAY: tuple[type[Message], ...] = (
    HeartbeatAck,
    JobDispatch,
    JobResultAck,
    JobVerdict,
    JobCancel,
    Drain,
)

TRANSITIONS: dict[tuple[State, Role, type[Message]], State] = {
    (State.NEW, Role.NODE, Hello): State.GREETED,
    (State.GREETED, Role.GATEWAY, Welcome): State.OPEN,
    (State.GREETED, Role.GATEWAY, Bye): State.CLOSED,
    (State.OPEN, Role.NODE, Bye): State.NODE_LEFT,
    (State.OPEN, Role.GATEWAY, Bye): State.GATEWAY_LEFT,
    (State.NODE_LEFT, Role.GATEWAY, Bye): State.CLOSED,
    (State.GATEWAY_LEFT, Role.NODE, Bye): State.CLOSED,
    **{(State.OPEN, Role.NODE, kind): State.OPEN for kind in _FROM_NODE},
    **{(State.OPEN, Role.GATEWAY, kind): State.OPEN for kind in _FROM_GATEWAY},
    **{(State.NODE_LEFT, Role.GATEWAY, kind): State.NODE_LEFT for kind in _FROM_GATEWAY},
    **{(State.GATEWAY_LEFT, Role.NODE, kind): State.GATEWAY_LEFT for kind in _FROM_NODE},
}


class Link:
    """The session as one end sees it.

    Args:
        role: our own end.
        now: seconds on the caller's monotonic clock, the same that every later ``now`` is of.
    """

    def __init__(self, role: Role, now: float) -> None:
        self.role = role
        self.state = State.NEW
        self.heartbeat_s: float | None = None
        self._heard_at = now

    def send(self, *messages: Message) -> str:
        """Return the frame that carries these messages.

        Raises:
            LocalProtocolError: not ours to send now, or over the size limit; the state is unchanged.
        """
        state = self._after(self.role, messages, LocalProtocolError)
        frame = encode(*messages)
        self._enter(state, messages)
        return frame

    def receive(self, frame: str | bytes, now: float) -> tuple[Message, ...]:
        """Return the messages of a frame that the peer sent.

        Raises:
            RemoteProtocolError: not a frame, or not the peer's to send now; the state is unchanged.
        """
        messages = decode(frame)
        self._enter(self._after(self.role.peer, messages, RemoteProtocolError), messages)
        self._heard_at = now
        return messages

    def silent_at(self) -> float:
        """Return when the peer counts as gone if nothing more is heard, in seconds on the caller's clock."""
        if self.heartbeat_s is None:
            return self._heard_at + HANDSHAKE_S
        return self._heard_at + SILENT_INTERVALS * self.heartbeat_s

    def _after(self, sender: Role, messages: tuple[Message, ...], error: type[ProtocolError]) -> State:
        state = self.state
        for message in messages:
            try:
                state = TRANSITIONS[state, sender, type(message)]
            except KeyError:
                what = type_name(type(message))
                raise error(f"{sender.value} may not send {what} while the link is {state.value}") from None
        return state

    def _enter(self, state: State, messages: tuple[Message, ...]) -> None:
        self.state = state
        for message in messages:
            if isinstance(message, Welcome):
                self.heartbeat_s = message.heartbeat_s

"""The link's other dialect: what RenderTrust's own node, ``edgekit``, and its gateway say to each other.

Spoken where a node offers no subprotocol, or a gateway accepts none.  One JSON object is one frame; there are no
attempts, leases, cancels or acknowledgements.  Frames become the values below and back; what they mean for the rest is
``gateway.dialect``'s and ``node.dialect``'s to say.  What we send is strict, what we take is lenient: unknown keys and
unknown types are passed over, because the other program will not be changed.
"""

from __future__ import annotations

from typing import Any

import attrs
import orjson

from edgeagent.wire.codec import (
    MAX_DEPTH,
    MAX_FRAME_BYTES,
    LocalProtocolError,
    RemoteProtocolError,
    depth_exceeds,
    parse,
)

#: Seconds between the gateway's pings.
PING_S = 30.0
#: Seconds without a pong after which the gateway closes with 4002.
SILENT_S = 90.0


@attrs.frozen
class HeartbeatPing:
    """The gateway asks whether the node is there."""


@attrs.frozen
class HeartbeatPong:
    """The node is there."""


@attrs.frozen(kw_only=True)
class JobAssign:
    """Work for the node.  The payload's keys stand beside these on the wire, where ``edgekit`` looks for them."""

    job_id: str
    job_type: str
    payload_ref: str = ""
    timestamp: str = ""  # ISO 8601; for people to read
    payload: dict[str, Any] = attrs.Factory(dict)


@attrs.frozen(kw_only=True)
class JobAck:
    """The node has heard of the job; ``edgekit`` says so before it looks at it."""

    job_id: str
    accepted: bool = True


@attrs.frozen(kw_only=True)
class StatusUpdate:
    """Where a job is: running, completed with its result in ``detail``, or failed with a text there."""

    job_id: str
    status: str
    progress: float | None = None
    detail: Any = None


Said = HeartbeatPing | HeartbeatPong | JobAssign | JobAck | StatusUpdate

NAMES: dict[type[Said], str] = {
    HeartbeatPing: "heartbeat_ping",
    HeartbeatPong: "heartbeat_pong",
    JobAssign: "job_assign",
    JobAck: "job_ack",
    StatusUpdate: "status_update",
}
#: Keys of ``job_assign`` that a payload cannot have.
RESERVED = frozenset({"type", "job_id", "job_type", "payload_ref", "timestamp"})


def encode(said: Said) -> str:
    """Return the frame.

    Raises:
        LocalProtocolError: a payload with a key of the frame's own, or a frame that the peer would refuse as too large.
    """
    match said:
        case HeartbeatPing() | HeartbeatPong():
            fields: dict[str, Any] = {"payload": {}}
        case JobAssign():
            if clash := RESERVED & said.payload.keys():
                raise LocalProtocolError(f"a payload with the key {min(clash)!r} cannot be told to this node")
            fields = attrs.asdict(said, filter=lambda field, _: field.name != "payload") | said.payload
        case JobAck():
            fields = attrs.asdict(said)
        case StatusUpdate():
            fields = {name: value for name, value in attrs.asdict(said, recurse=False).items() if value is not None}
    frame = orjson.dumps({"type": NAMES[type(said)], **fields})
    if len(frame) > MAX_FRAME_BYTES:
        raise LocalProtocolError(f"a frame of {len(frame)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return frame.decode()


def decode(frame: str | bytes) -> Said | None:
    """Return what a frame says; None where it is of a type that we do not know.

    Raises:
        RemoteProtocolError: not text, too large, not a JSON object, or a field is missing or of the wrong kind.
    """
    document = parse(frame)
    if not isinstance(document, dict):
        raise RemoteProtocolError(f"a message is a JSON object, not {type(document).__name__}")
    if depth_exceeds(document, MAX_DEPTH):
        raise RemoteProtocolError(f"the message is nested deeper than {MAX_DEPTH} levels")
    match document.get("type"):
        case "heartbeat_ping":
            return HeartbeatPing()
        case "heartbeat_pong":
            return HeartbeatPong()
        case "job_assign":
            payload = {key: value for key, value in document.items() if key not in RESERVED}
            reference, time = document.get("payload_ref"), document.get("timestamp")
            return JobAssign(
                job_id=_text(document, "job_id"),
                job_type=_text(document, "job_type"),
                payload_ref=reference if isinstance(reference, str) else "",
                timestamp=time if isinstance(time, str) else "",
                payload=payload,
            )
        case "job_ack":
            return JobAck(job_id=_text(document, "job_id"), accepted=document.get("accepted") is not False)
        case "status_update":
            progress = document.get("progress")
            return StatusUpdate(
                job_id=_text(document, "job_id"),
                status=_text(document, "status").lower(),
                progress=float(progress) if isinstance(progress, int | float) and 0 <= progress <= 1 else None,
                detail=document.get("detail"),
            )
    return None


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise RemoteProtocolError(f"{document['type']}: {key} must be a text")
    return value

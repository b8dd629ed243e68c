"""The messages of the link, as values.

One frozen class per message; its wire name is the class's name in snake case (``JobDispatch`` is ``job_dispatch``).
Ids are strings: a job's and an attempt's are UUIDs, a node's is the ``sub`` of its token.  Durations are seconds,
never a time of day: no clock of one machine is compared with a clock of another.  docs/link.md shows each on the wire.
"""

from __future__ import annotations

import enum
from typing import Any

import attrs
from attrs.validators import and_, ge, gt, le, matches_re

_SHA256 = matches_re(r"[0-9a-f]{64}")
_SIGNATURE = matches_re(r"([0-9a-f]{128})?")  # Ed25519, in hex
_NOT_NEGATIVE = ge(0)  # for whole numbers
_SHARE = and_(ge(0.0), le(1.0))


class Outcome(enum.StrEnum):
    """How an attempt ended; the program failed is one thing, the sandbox broke is another."""

    COMPLETED = "completed"
    FAILED = "failed"  # the plugin said so, raised, or returned something else than a WorkerResult
    REJECTED = "rejected"  # the plugin says the job itself is bad: trying again cannot help
    EXITED = "exited"  # the process ended without giving a result
    SIGNALLED = "signalled"
    TIMEOUT = "timeout"
    CPU_LIMIT = "cpu_limit"
    MEMORY_LIMIT = "memory_limit"
    DISK_LIMIT = "disk_limit"
    OUTPUT_LIMIT = "output_limit"
    CANCELLED = "cancelled"
    SETUP_FAILED = "setup_failed"  # the sandbox could not be built, or the outputs could not be delivered
    FETCH_FAILED = "fetch_failed"  # payload or inputs could not be had; nobody's fault, and tried again elsewhere
    LOST = "lost"  # the node or the gateway lost track of the attempt


class NodeState(enum.StrEnum):
    """A node as the gateway sees it: the operator guide's table, and two states that the gateway's owner decides."""

    REGISTERED = "REGISTERED"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    OFFLINE = "OFFLINE"
    PENDING = "PENDING"  # waits for the owner's approval: may have a link, gets no work
    REVOKED = "REVOKED"  # no member any more: its tokens are refused


@attrs.frozen(kw_only=True)
class Limits:
    """What one attempt may use.  The defaults are the operator guide's; the rest leaves room for a render."""

    wall_s: float = attrs.field(default=300.0, validator=gt(0))
    cpu_s: float = attrs.field(default=600.0, validator=gt(0))
    memory_bytes: int = attrs.field(default=2 << 30, validator=gt(0))
    pids: int = attrs.field(default=256, validator=gt(0))
    scratch_bytes: int = attrs.field(default=256 << 20, validator=gt(0))
    tmp_bytes: int = attrs.field(default=64 << 20, validator=gt(0))
    output_bytes: int = attrs.field(default=8 << 20, validator=gt(0))  # of stdout and stderr together
    gpus: int = attrs.field(default=0, validator=and_(ge(0), le(64)))  # of its own, not at most: it gets that many


@attrs.frozen(kw_only=True)
class Output:
    """A file that the job left behind, already uploaded."""

    name: str = attrs.field(validator=matches_re(r"[^/\0]{1,255}"))
    size_bytes: int = attrs.field(validator=_NOT_NEGATIVE)
    sha256: str = attrs.field(validator=_SHA256)


@attrs.frozen(kw_only=True)
class Usage:
    """What an attempt used, all its processes together."""

    wall_s: float = attrs.field(default=0.0, validator=ge(0.0))
    cpu_s: float = attrs.field(default=0.0, validator=ge(0.0))
    memory_peak_bytes: int = attrs.field(default=0, validator=_NOT_NEGATIVE)


@attrs.frozen(kw_only=True)
class Confinement:
    """What held the job in: the sandbox's tier, each protection that was on, and why the others were not."""

    tier: str = ""
    enforced: tuple[str, ...] = ()
    not_enforced: dict[str, str] = attrs.Factory(dict)


@attrs.frozen(kw_only=True)
class Hello:
    """First message of a node: what it is, and what it still holds from an earlier link."""

    version: str
    capabilities: tuple[str, ...]
    slots: int = attrs.field(validator=ge(1))
    gpus: tuple[str, ...] = ()  # uuids of GPUs and GPU instances that it lends, as the driver spells them
    memory_bytes: int = attrs.field(default=0, validator=_NOT_NEGATIVE)  # for all its jobs together; 0: not said
    sandbox_tier: str = ""
    fetches: tuple[str, ...] = ()  # kinds of references it can fetch: blob, https, s3
    held: tuple[str, ...] = ()  # attempt ids that run, or whose result is not acknowledged yet
    yields: bool = False  # to another link of the same node: where one stands, this one is closed with 4009


@attrs.frozen(kw_only=True)
class Welcome:
    """The gateway's answer: the link is open.  ``keep`` and ``drop`` share out what Hello said was held."""

    heartbeat_s: float = attrs.field(validator=gt(0))
    lease_s: float = attrs.field(validator=gt(0))
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    token: str | None = None  # a fresh one, when the node's has less than half its life left


@attrs.frozen(kw_only=True)
class Heartbeat:
    """Sent by a node every ``Welcome.heartbeat_s``; renews the lease of each attempt listed."""

    seq: int = attrs.field(validator=_NOT_NEGATIVE)
    load: float = attrs.field(validator=_SHARE)
    free_slots: int = attrs.field(validator=_NOT_NEGATIVE)
    running: tuple[str, ...] = ()  # attempt ids
    not_now: tuple[str, ...] = ()  # job types of Hello that are not taken at present: paused, or no window is open


@attrs.frozen(kw_only=True)
class HeartbeatAck:
    """The gateway has heard the heartbeat of that number; ``state`` is how it sees the node now."""

    seq: int = attrs.field(validator=_NOT_NEGATIVE)
    state: NodeState
    token: str | None = None
    probation: bool = False  # one job at a time until one completes
    no_work: str = ""  # why the gateway gives this node nothing at present, one line; empty where it would


@attrs.frozen(kw_only=True)
class Reference:
    """Where something lies that the node fetches before the job starts, and what must arrive.

    ``ref`` is ``sha256:HEX`` (a file that the gateway keeps), ``https://...`` or ``s3://BUCKET/KEY``.
    """

    ref: str
    sha256: str = attrs.field(validator=_SHA256)
    size_bytes: int = attrs.field(validator=_NOT_NEGATIVE)


@attrs.frozen(kw_only=True)
class JobDispatch:
    """Work for the node, to be accepted or declined.

    ``payload_ref`` takes the place of ``payload``: a reference to it, sent only to nodes that can fetch its kind, as
    are ``inputs``, by the name that the job finds each under.
    """

    job_id: str
    attempt_id: str
    job_type: str
    payload: dict[str, Any] = attrs.Factory(dict)
    payload_ref: str | None = None
    inputs: dict[str, Reference] = attrs.Factory(dict)
    limits: Limits = attrs.Factory(Limits)
    price_ucr: int = attrs.field(default=0, validator=_NOT_NEGATIVE)


@attrs.frozen(kw_only=True)
class JobAccept:
    """The node has a slot and the plugin, and starts."""

    attempt_id: str


@attrs.frozen(kw_only=True)
class JobDecline:
    """The node does not start this attempt; the job goes back to the queue at no fault of its own."""

    attempt_id: str
    reason: str


@attrs.frozen(kw_only=True)
class JobProgress:
    """How far an attempt is; droppable, never blocks a result."""

    attempt_id: str
    fraction: float | None = attrs.field(default=None, validator=attrs.validators.optional(_SHARE))
    text: str = ""
    log: tuple[str, ...] = ()  # lines of the job's own output since the last message


@attrs.frozen(kw_only=True)
class JobResult:
    """How an attempt ended.  Repeated after every reconnect until it is acknowledged.

    ``signature`` is the node's, over the receipt (``wire.receipts``); empty from a node that has no key at hand.
    """

    job_id: str
    attempt_id: str
    outcome: Outcome
    detail: str = ""  # one line for a person: why it failed
    value: Any = None  # what the plugin gave back, JSON
    result_ref: str | None = None
    outputs: tuple[Output, ...] = ()
    usage: Usage = attrs.Factory(Usage)
    sandbox: Confinement = attrs.Factory(Confinement)
    signature: str = attrs.field(default="", validator=_SIGNATURE)


@attrs.frozen(kw_only=True)
class Settled:
    """What the node lacks to make the settlement of its receipt (``wire.receipts``), and the gateway's signature of it.

    ``key_id`` names the gateway's key; ``node_signature`` is there where an earlier copy of the result, with another
    signature, was settled.  ``settled_at`` is the gateway's own date for its books, compared with no other clock.
    """

    month: str
    index: int = attrs.field(validator=_NOT_NEGATIVE)
    settled_at: int = attrs.field(validator=_NOT_NEGATIVE)
    signature: str = attrs.field(validator=_SIGNATURE)
    key_id: str
    node_signature: str | None = None


@attrs.frozen(kw_only=True)
class JobResultAck:
    """The gateway has the result on disk: the node may forget it, once it has stored what it was paid.

    ``credited_ucr`` is 0 where nothing was paid, and ``unpaid`` says why a completed attempt was not; or where it is
    ``held``: another node's has to agree with it first.
    """

    attempt_id: str
    credited_ucr: int = attrs.field(default=0, validator=_NOT_NEGATIVE)
    held: bool = False
    settled: Settled | None = None
    unpaid: str = ""


@attrs.frozen(kw_only=True)
class JobVerdict:
    """What became of a result that was held: what is credited for it, and why."""

    attempt_id: str
    credited_ucr: int = attrs.field(default=0, validator=_NOT_NEGATIVE)
    reason: str = ""
    settled: Settled | None = None


@attrs.frozen(kw_only=True)
class JobCancel:
    """Stop this attempt; its result is no longer wanted."""

    attempt_id: str
    reason: str


@attrs.frozen(kw_only=True)
class Drain:
    """The sender takes (node) or gives (gateway) no new work; running attempts go on."""

    reason: str


@attrs.frozen(kw_only=True)
class Bye:
    """The sender closes; a node comes back after ``back_s`` seconds."""

    reason: str
    back_s: float = attrs.field(default=0.0, validator=ge(0.0))


Message = (
    Hello
    | Welcome
    | Heartbeat
    | HeartbeatAck
    | JobDispatch
    | JobAccept
    | JobDecline
    | JobProgress
    | JobResult
    | JobResultAck
    | JobVerdict
    | JobCancel
    | Drain
    | Bye
)

"""What REST requests and answers look like.

These are msgspec structs because Litestar decodes bodies with msgspec, where cattrs' hooks do not run.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from edgeagent.gateway.jobs import MAX_ATTEMPTS, MAX_PRIORITY, USUAL_PRIORITY
from edgeagent.gateway.references import MAX_REF

#: Most jobs in one batch.
MAX_BATCH = 1000
#: Longest deadline, in seconds: 30 days.
MAX_DEADLINE_S = 30 * 86400.0
#: Largest input, in bytes.
MAX_INPUT_BYTES = 1 << 40

JobType = Annotated[str, Meta(min_length=1, max_length=100)]
PublicKey = Annotated[str, Meta(max_length=1000)]
Hex = Annotated[str, Meta(max_length=200)]
Ref = Annotated[str, Meta(min_length=1, max_length=MAX_REF)]
#: A file name: the job finds the input under it.
InputName = Annotated[str, Meta(min_length=1, max_length=255)]
Load = Annotated[float, Meta(ge=0.0, le=1.0)]


class Wrong(Struct, omit_defaults=True):
    """One part of a request that is at fault: a field, or a job of a batch."""

    detail: str
    field: str | None = None
    index: int | None = None


class Problem(Struct, omit_defaults=True):
    """A fault (RFC 9457); ``detail`` is one line for a person, ``errors`` lists what is wrong with the request."""

    type: Literal["about:blank"]  # the status says all that a program needs
    title: str
    status: int
    detail: str
    instance: str
    errors: list[Wrong] | None = None


class Replaces(Struct):
    """The node whose key is replaced, and its present key's signature that says so."""

    node_id: Annotated[str, Meta(max_length=100)]
    signature: Annotated[str, Meta(max_length=200)]


class Registration(Struct):
    """A node that wants to be one; ``public_key`` is Ed25519, SPKI PEM.

    ``challenge`` and its ``signature`` prove the key, where it is a node's already.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    public_key: PublicKey
    capabilities: Annotated[list[JobType], Meta(max_length=64)]
    metadata: dict[str, Any] = {}
    join_token: Annotated[str, Meta(max_length=100)] | None = None
    challenge: Hex | None = None
    signature: Hex | None = None
    replaces: Replaces | None = None


class Registered(Struct):
    """A node that is one now; ``challenge`` is good for the next proof of its key, for two minutes."""

    node_id: str
    challenge: str
    token: str
    status: str


class KeyOnly(Struct):
    """A key that somebody wants to prove."""

    public_key: PublicKey


class ChallengeBody(Struct):
    """What is to be signed: raw Ed25519 over its ASCII hex."""

    challenge: str
    expires_in_s: float


class KeyProof(Struct):
    """A challenge, signed."""

    public_key: PublicKey
    challenge: Hex
    signature: Hex


class KeyRotation(Struct):
    """A node's new key, and its present key's signature that says so."""

    node_id: Annotated[str, Meta(max_length=100)]
    public_key: PublicKey
    signature: Hex


class NodeProfile(Struct):
    """A node as its operator sees it."""

    node_id: str
    name: str
    status: str
    capabilities: list[str]
    jobs_completed: int
    balance_ucr: int


class RestHeartbeat(Struct):
    """A node without a link says that it is alive."""

    current_load: Load
    metadata: dict[str, Any] = {}


class Acknowledged(Struct):
    """The gateway heard it."""

    node_id: str
    status: str
    acknowledged: bool = True


class InputRef(Struct):
    """Something that the node fetches before the job starts.

    ``ref`` is ``sha256:DIGEST`` for a file that this gateway keeps, whose digest and size it knows; for
    ``https://...`` and ``s3://BUCKET/KEY`` both are needed, and the node checks them.
    """

    ref: Ref
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    size_bytes: Annotated[int, Meta(ge=0, le=MAX_INPUT_BYTES)] | None = None


class Requires(Struct, frozen=True, forbid_unknown_fields=True):
    """What a job requires of its node: at least this sandbox tier, so many GPUs and so much memory to itself."""

    tier: Literal["A", "B", "C"] | None = None
    gpus: Annotated[int, Meta(ge=0, le=64)] = 0
    memory_bytes: Annotated[int, Meta(ge=0, le=1 << 44)] = 0


class Submission(Struct):
    """A job as it is submitted; ``limits`` are those of ``wire.messages.Limits`` that are not to be the default.

    ``payload_ref`` takes the place of ``payload``.  ``priority`` orders the jobs of one account, the highest first;
    ``deadline_s`` counts from the submission.
    """

    job_type: JobType
    payload: dict[str, Any] = {}
    payload_ref: Ref | None = None
    inputs: Annotated[dict[InputName, InputRef], Meta(max_length=64)] = {}
    limits: dict[str, Any] = {}
    requires: Requires = Requires()
    priority: Annotated[int, Meta(ge=0, le=MAX_PRIORITY)] = USUAL_PRIORITY
    max_attempts: Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS)] = MAX_ATTEMPTS
    deadline_s: Annotated[float, Meta(ge=0.001, le=MAX_DEADLINE_S)] | None = None


class ToDispatch(Struct):
    """A job that a node is to have at once."""

    job_type: JobType
    payload_ref: Ref


class Dispatched(Struct):
    """A job that a node has."""

    job_id: str
    node_id: str
    status: str


class Batch(Struct):
    """Jobs that are submitted together: all of them, or none."""

    jobs: Annotated[list[Submission], Meta(min_length=1, max_length=MAX_BATCH)]


class ProgressBody(Struct):
    """How far a job is."""

    fraction: float | None
    text: str


class Attempt(Struct):
    """One attempt of a job."""

    attempt_id: str
    node_id: str
    node_name: str
    status: str
    outcome: str | None
    detail: str
    credited_ucr: int
    usage: dict[str, Any]
    sandbox: dict[str, Any]


class Job(Struct):
    """A job as its submitter sees it."""

    job_id: str
    job_type: str
    status: str
    priority: int
    max_attempts: int
    deadline_s: float | None
    requires: Requires
    payload_ref: str | None
    requeue_of: str | None
    requeued_as: str | None
    price_ucr: int
    credited_ucr: int
    created_at: datetime
    finished_at: datetime | None
    queued_s: float
    running_s: float
    progress: ProgressBody
    error: str | None
    attempts: list[Attempt]


class JobPage(Struct):
    """Jobs, newest first; ``next`` is the ``before`` of the page after this, null where there is none."""

    jobs: list[Job]
    next: str | None


class JobList(Struct):
    """Jobs, in the order of the batch that they were submitted in."""

    jobs: list[Job]


class Event(Struct):
    """One server-sent event; ``data`` is a JSON document: a job, its progress, lines that it printed."""

    id: str
    event: Literal["job", "progress", "log", "gap", "end"]
    data: str


class OutputBody(Struct):
    """A file that a job left; ``download_url`` is a path on this gateway, null where it is kept no more."""

    name: str
    size_bytes: int
    sha256: str
    download_url: str | None


class Result(Struct):
    """What a finished job gave back; ``download_url`` is its first file's, which is kept for ``expires_in`` seconds."""

    job_id: str
    outcome: str | None
    detail: str
    value: Any
    result_ref: str | None
    outputs: list[OutputBody]
    download_url: str | None
    expires_in: int | None


class AccountBody(Struct):
    """A submitter's account; ``stored_bytes`` counts towards ``quota_bytes``, uploads in progress too."""

    name: str
    balance_ucr: int
    held_ucr: int
    stored_bytes: int
    quota_bytes: int


class Health(Struct):
    """The gateway answers."""

    status: str = "healthy"


class Readiness(Struct):
    """Whether the gateway can do its work, and what it looked at."""

    status: str
    checks: dict[str, str]


class Row(Struct, rename="camel"):
    """A node's line on the leaderboard, as RenderTrust's portal reads it."""

    rank: int
    node_id: str
    node_name: str
    jobs_completed: int
    uptime_percent: float
    total_earnings: float


class Stats(Struct, rename="camel"):
    """The whole network's figures."""

    total_nodes: int
    total_jobs: int
    network_uptime: float
    total_payouts: float


class Board(Struct, rename="camel"):
    """The leaderboard."""

    leaderboard: list[Row]
    stats: Stats
    updated_at: datetime

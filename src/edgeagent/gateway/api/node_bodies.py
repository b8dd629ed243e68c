"""What a node is answered that asks after itself: how it stands, and what it has earned."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta, Struct


class NodeFailure(Struct):
    """An attempt that counts against a node."""

    job_id: str
    job_type: str
    outcome: str
    detail: str
    ago_s: float


class Waiting(Struct):
    """A job type of which jobs wait; ``lacks`` is why this node cannot run them, empty where it can."""

    job_type: str
    lacks: str


class Seat(Struct):
    """What dispatch knows of a linked node.

    ``limit`` is how many jobs it may have now, ``taken`` how many it has, ``closed`` what it does not take at present.
    """

    slots: int
    limit: int
    taken: int
    load: float
    draining: bool
    closed: list[str]


class Given(Struct):
    """Jobs that this node could have run and that were given out within ``within_s`` seconds, to it and to others."""

    within_s: float
    to_this: int
    to_others: int


class WithoutWork(Struct):
    """Why a node that may have more jobs has none, as far as the queue says it.

    ``code`` is about_to, closed, outbid, unsuited or no_demand; ``job_type`` the one that it is about, or empty.
    """

    code: str
    text: str
    job_type: str


class NodeStanding(Struct):
    """Why a node gets work, or none, as the gateway sees it.

    ``cause`` is why it came into its status ``since_s`` seconds ago; ``drained``: by the gateway's owner; ``seat`` is
    null where it has no link, and ``waiting``, ``given`` and ``idle`` tell nothing then.  The first of ``idle``
    decides.
    """

    node_id: str
    status: str
    cause: str
    since_s: float
    probation: bool
    drained: bool
    failures: list[NodeFailure]
    seat: Seat | None
    waiting: list[Waiting]
    given: Given
    idle: list[WithoutWork]


class EarnedSum(Struct):
    """What one day (2026-10-31), month (2026-10) or job type has brought; an empty name is what no job has caused.

    ``jobs`` counts those that were paid for.
    """

    name: str
    jobs: int
    earned_ucr: int
    paid_out_ucr: int


class NodeEarnings(Struct):
    """What a node has earned, in UTC's months and days; ``days`` and ``job_types`` are of ``month``.

    ``payout_address`` is where it is paid out to, by its ends; null where nowhere.
    """

    node_id: str
    month: str
    total: EarnedSum
    today: EarnedSum
    days: list[EarnedSum]
    job_types: list[EarnedSum]
    months: list[EarnedSum]
    balance_ucr: int
    payout_address: str | None


class SettledBody(Struct):
    """What the node lacks to make the settlement of its receipt, and the gateway's signature of it, as on the link."""

    month: str
    index: int
    settled_at: int
    signature: str
    key_id: str
    node_signature: str | None


class NodeVerdict(Struct):
    """What became of a result that was held: what was credited for it, and why; ``settled`` where it was paid."""

    attempt_id: str
    credited_ucr: int
    reason: str
    settled: SettledBody | None


class NodeVerdicts(Struct):
    """Verdicts on those of the attempts that are the node's and are decided."""

    verdicts: list[NodeVerdict]


class Visibility(enum.StrEnum):
    """Whether the leaderboard shows a node.  Words, because a body's ``0`` would pass for false."""

    LISTED = "listed"
    UNLISTED = "unlisted"


class Appearance(Struct, forbid_unknown_fields=True):
    """How a node wants to appear on the leaderboard; what is left out stays as it is."""

    name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    visibility: Visibility | None = None


class NodeAppearance(Struct):
    """How a node appears on the leaderboard; ``rank`` is null where it is not listed, ``page`` its path there."""

    node_id: str
    name: str
    visibility: Visibility
    rank: int | None
    page: str

"""How a node stands with this gateway, as far as that decides whether it gets work: told to its operator.

Pure: ``store.standing`` reads what is stored, ``Network`` knows the rest, and the node's own ``why`` draws the
conclusion from both sides.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from edgeagent.gateway.needs import Need, Offer

#: Most job types that are told of.
MAX_TYPES = 64


@attrs.frozen(kw_only=True)
class Failure:
    """An attempt that counts against the node."""

    job_id: str
    job_type: str
    outcome: str
    detail: str
    ago_s: float


@attrs.frozen(kw_only=True)
class Stored:
    """What the store knows of a node's standing.

    Attributes:
        cause: why it came into its present state.
        since_s: how long ago that was.
        failures: those that count against it, the newest first.
        recent: needs of the jobs that were given to nodes lately, and whether to this one.
    """

    cause: str
    since_s: float
    failures: tuple[Failure, ...]
    recent: tuple[tuple[Need, bool], ...]


@attrs.frozen(kw_only=True)
class Demand:
    """A job type of which jobs wait, and why this node cannot run them; empty where it can."""

    job_type: str
    lacks: str


@attrs.frozen(kw_only=True)
class Seated:
    """What dispatch knows of a linked node: ``limit`` is how many jobs it may have now, ``taken`` how many it has."""

    slots: int
    limit: int
    taken: int
    load: float
    draining: bool
    closed: tuple[str, ...]


def demand(needs: Iterable[Need], offer: Offer) -> tuple[Demand, ...]:
    """Return the job types that are waited for, those that this node could run first."""
    found: dict[str, str] = {}
    for need in needs:
        lacks = offer.lacks(need)
        found[need.job_type] = "" if not lacks else found.get(need.job_type, lacks)
    ordered = sorted(found.items(), key=lambda one: (one[1] != "", one[0] not in offer.capabilities, one[0]))
    return tuple(Demand(job_type=job_type, lacks=lacks) for job_type, lacks in ordered[:MAX_TYPES])


def recent(stored: Stored, offer: Offer) -> tuple[int, int]:
    """Return how many of the jobs given out lately that this node could have run went to it, and to others."""
    own = [mine for need, mine in stored.recent if offer.suits(need)]
    return sum(own), len(own) - sum(own)

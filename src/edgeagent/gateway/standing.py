"""How a node stands with this gateway, as far as that decides whether it gets work: told to its operator.

Pure: ``store.standing`` reads what is stored, ``Network`` knows the rest.  What the queue has to do with it is said
here (``idle``), by the one who has the queue; the node's own ``why`` adds its side.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator, Sequence

import attrs

from edgeagent.gateway.needs import Need, Offer
from edgeagent.wire.units import format_duration

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


class Code(enum.StrEnum):
    """What the queue has to do with a node that could work and has no work; stable, for scripts."""

    ABOUT_TO = "about_to"
    CLOSED = "closed"
    OUTBID = "outbid"
    UNSUITED = "unsuited"
    NO_DEMAND = "no_demand"


@attrs.frozen(kw_only=True)
class Because:
    """One reason, in words for the node's operator; ``job_type`` is the one that it is about, or empty."""

    code: Code
    text: str
    job_type: str = ""


def idle(
    waiting: Sequence[Demand], closed: Collection[str], given: tuple[int, int], within_s: float
) -> Iterator[Because]:
    """Yield why a node that may have more jobs has none, as far as the queue says it; the deciding reason first.

    Args:
        waiting: the job types that jobs wait of (``demand``).
        closed: those of them that the node does not take at present.
        given: how many of the jobs that it could have run went to it lately, and to others (``recent``).
        within_s: seconds that count as lately.
    """
    suited = [one.job_type for one in waiting if not one.lacks and one.job_type not in closed]
    if suited:
        text = f"jobs wait that it can run ({', '.join(suited)}); one comes in seconds, or they rest after a failure"
        yield Because(code=Code.ABOUT_TO, text=text, job_type=suited[0])
        return
    (own, others), lately = given, format_duration(within_s)
    for one in waiting:
        if not one.lacks:
            text = f"{one.job_type} is waited for, and the node takes none at present"
            yield Because(code=Code.CLOSED, text=text, job_type=one.job_type)
    if others:
        text = (
            f"nothing waits that it could run: of {own + others} such jobs in the last {lately}, {others} went to "
            "other nodes, which were less loaded"
        )
        yield Because(code=Code.OUTBID, text=text)
    for one in waiting:
        if one.lacks:
            yield Because(code=Code.UNSUITED, text=f"{one.job_type} is waited for: {one.lacks}", job_type=one.job_type)
    if not others and not any(not one.lacks for one in waiting):
        queue = "the jobs that wait are of other kinds" if waiting else "the queue is empty"
        text = (
            f"no job waits that it could run: {queue}, and {own or 'no'} such jobs were given out in the last {lately}"
        )
        yield Because(code=Code.NO_DEMAND, text=text)

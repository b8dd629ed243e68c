"""The public leaderboard: nodes by jobs completed, then uptime, then earnings.  Pure; ``boards`` keeps one at hand.

The rank is the place in that order, whatever column the table is sorted by, and equals stand in the order in which they
registered.  Uptime is the time in which a node was HEALTHY over the time since it registered, both from its stored
states: since the beginning, and in the last 30 days.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from edgeagent.gateway import names

#: The operator guide's badges, for the first three.
BADGES = ("Gold", "Silver", "Bronze")
#: Nodes on one page of the table.
PAGE_ROWS = 100
#: Days that recent uptime looks back.
RECENT_DAYS = 30


@attrs.frozen(kw_only=True)
class Standing:
    """What is stored of a node.  ``healthy_s`` of ``known_s`` seconds it was HEALTHY; the same of the last 30 days."""

    seq: int  # counts registrations
    node_id: str
    name: str
    listed: bool
    jobs_completed: int
    earned_ucr: int
    healthy_s: float
    known_s: float
    recent_healthy_s: float
    recent_known_s: float
    registered_at: float


@attrs.frozen(kw_only=True)
class Ranked:
    """A node's place; ``name`` may stand on a page, and uptimes are percentages."""

    rank: int
    seq: int
    node_id: str
    name: str
    mixed: bool  # its name is of several alphabets
    jobs_completed: int
    uptime_percent: float
    recent_percent: float
    earned_ucr: int
    registered_at: float

    @property
    def badge(self) -> str:
        """Gold, Silver, Bronze, or nothing; nobody is decorated for no work."""
        return BADGES[self.rank - 1] if self.rank <= len(BADGES) and self.jobs_completed else ""

    @property
    def short_id(self) -> str:
        """What tells apart two nodes whose names look alike."""
        return self.node_id[:8]


class Column(enum.StrEnum):
    """What the table can be sorted by; the values stand in its address."""

    JOBS = "jobs"
    UPTIME = "uptime"
    RECENT = "uptime30"
    EARNINGS = "earnings"
    NAME = "name"

    @property
    def ascends(self) -> bool:
        """Whether small comes first where nothing is said: of names, not of merits."""
        return self is Column.NAME


_KEYS: dict[Column, Callable[[Ranked], Any]] = {
    Column.JOBS: lambda one: one.jobs_completed,
    Column.UPTIME: lambda one: one.uptime_percent,
    Column.RECENT: lambda one: one.recent_percent,
    Column.EARNINGS: lambda one: one.earned_ucr,
    Column.NAME: lambda one: names.key(one.name),
}


@attrs.frozen(kw_only=True)
class Query:
    """Which part of the leaderboard somebody wants to see, and in which order."""

    column: Column = Column.JOBS
    ascending: bool = False
    search: str = ""


@attrs.frozen(kw_only=True)
class Totals:
    """The whole network's figures; nodes that are not listed count here, too."""

    nodes: int
    jobs: int
    uptime_percent: float
    earned_ucr: int


class Board:
    """All nodes, as they stood at one moment; sorts by a column once, when that is first asked for."""

    def __init__(self, standings: Iterable[Standing], now: float) -> None:
        everybody = list(standings)
        self.at = datetime.fromtimestamp(now, UTC)
        self.ranked = rank(everybody)
        self.totals = Totals(
            nodes=len(everybody),
            jobs=sum(one.jobs_completed for one in everybody),
            uptime_percent=network_uptime(everybody),
            earned_ucr=sum(one.earned_ucr for one in everybody),
        )
        self._places = {one.node_id: one for one in self.ranked}
        self._sorted: dict[tuple[Column, bool], Sequence[Ranked]] = {(Column.JOBS, False): self.ranked}
        self._words: dict[str, str] | None = None

    def node(self, node_id: str) -> Ranked | None:
        """Return a node's place; None for one that is not listed."""
        return self._places.get(node_id)

    def find(self, query: Query) -> Sequence[Ranked]:
        """Return the nodes that are asked for, in the order that is asked for; equals stand as they rank."""
        order = (query.column, query.ascending)
        if order not in self._sorted:
            self._sorted[order] = sorted(self.ranked, key=_KEYS[query.column], reverse=not query.ascending)
        found = self._sorted[order]
        wanted = names.key(query.search)
        if not wanted:
            return found
        if self._words is None:
            self._words = {one.node_id: f"{names.key(one.name)} {one.node_id}" for one in self.ranked}
        return [one for one in found if wanted in self._words[one.node_id]]


def rank(standings: Iterable[Standing]) -> list[Ranked]:
    """Return the nodes that are listed, best first; equals stand in the order in which they registered."""
    listed = (one for one in standings if one.listed)
    ordered = sorted(listed, key=lambda one: (-one.jobs_completed, -_uptime(one), -one.earned_ucr, one.seq))
    return [
        Ranked(
            rank=place,
            seq=one.seq,
            node_id=one.node_id,
            name=names.shown(one.name, names.MAX_NAME),
            mixed=names.mixes_alphabets(one.name),
            jobs_completed=one.jobs_completed,
            uptime_percent=_uptime(one),
            recent_percent=percent(one.recent_healthy_s, one.recent_known_s),
            earned_ucr=one.earned_ucr,
            registered_at=one.registered_at,
        )
        for place, one in enumerate(ordered, 1)
    ]


def network_uptime(standings: Iterable[Standing]) -> float:
    """Return the percentage of all nodes' time in which they were HEALTHY."""
    known = list(standings)
    return percent(sum(one.healthy_s for one in known), sum(one.known_s for one in known))


def percent(part: float, whole: float) -> float:
    """Return ``part`` of ``whole`` as a percentage of two decimals, 0 of nothing."""
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 2) if whole > 0 else 0.0


def _uptime(standing: Standing) -> float:
    return percent(standing.healthy_s, standing.known_s)

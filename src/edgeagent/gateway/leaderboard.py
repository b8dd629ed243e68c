"""The public leaderboard: nodes by jobs completed, then uptime, then earnings.  Pure; ``api.public`` serves it."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from edgeagent.gateway.store.nodes import Standing

#: The operator guide's badges, for the first three.
BADGES = ("Gold", "Silver", "Bronze")


@attrs.frozen(kw_only=True)
class Ranked:
    """A node's place; ``uptime_percent`` is how much of its life as a node it was HEALTHY."""

    rank: int
    node_id: str
    name: str
    jobs_completed: int
    uptime_percent: float
    earned_ucr: int

    @property
    def badge(self) -> str:
        """Gold, Silver, Bronze, or nothing; nobody is decorated for no work."""
        return BADGES[self.rank - 1] if self.rank <= len(BADGES) and self.jobs_completed else ""


def rank(standings: Iterable[Standing]) -> list[Ranked]:
    """Return the nodes, best first; equals stand in the order of their names."""
    ordered = sorted(standings, key=lambda one: (-one.jobs_completed, -_uptime(one), -one.earned_ucr, one.name))
    return [
        Ranked(
            rank=place,
            node_id=one.node_id,
            name=one.name,
            jobs_completed=one.jobs_completed,
            uptime_percent=_uptime(one),
            earned_ucr=one.earned_ucr,
        )
        for place, one in enumerate(ordered, 1)
    ]


def network_uptime(standings: Iterable[Standing]) -> float:
    """Return the percentage of all nodes' time in which they were HEALTHY."""
    known = list(standings)
    return _percent(sum(one.healthy_s for one in known), sum(one.known_s for one in known))


def _uptime(standing: Standing) -> float:
    return _percent(standing.healthy_s, standing.known_s)


def _percent(part: float, whole: float) -> float:
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 2) if whole > 0 else 0.0

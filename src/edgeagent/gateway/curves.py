"""A node's last days as figures and as curves.  Pure; days are UTC's.

A curve is drawn from what a person can also read as a table: one point a day, the last of them today's so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime

import attrs

from edgeagent.gateway.earnings import DAY_S
from edgeagent.gateway.leaderboard import percent
from edgeagent.wire.messages import NodeState

#: The size of a drawing, in its own units.
WIDTH, HEIGHT = 600, 120


@attrs.frozen(kw_only=True)
class Day:
    """What a node did on a day; ``uptime_percent`` is None where it was not registered yet."""

    date: date
    jobs: int
    earned_ucr: int
    uptime_percent: float | None


def days(
    spells: Iterable[tuple[NodeState, float, float | None]],
    counts: Mapping[int, tuple[int, int]],
    now: float,
    number: int,
) -> tuple[Day, ...]:
    """Return a node's last days, oldest first, today included.

    Args:
        spells: its states, oldest first: which, since and until when, in seconds since the epoch; None: until now.
        counts: by day since the epoch, the jobs it completed and the micro-credits it earned; missing: none.
        now: seconds since the epoch.
        number: how many days.
    """
    lasting = [(state, since, now if until is None else until) for state, since, until in spells]
    today = int(now // DAY_S)
    found = []
    for day in range(today - number + 1, today + 1):
        known_s = healthy_s = 0.0
        for state, since, until in lasting:
            within_s = max(0.0, min(until, (day + 1.0) * DAY_S) - max(since, float(day * DAY_S)))
            known_s += within_s
            healthy_s += within_s if state is NodeState.HEALTHY else 0.0
        jobs, earned_ucr = counts.get(day, (0, 0))
        found.append(
            Day(
                date=datetime.fromtimestamp(day * DAY_S, UTC).date(),
                jobs=jobs,
                earned_ucr=earned_ucr,
                uptime_percent=percent(healthy_s, known_s) if known_s > 0 else None,
            )
        )
    return tuple(found)


def points(values: Sequence[float | None], top: float) -> str:
    """Return an SVG polyline's points for values from 0 to ``top``; days without a value are left out."""
    step = WIDTH / max(1, len(values) - 1)
    scale = HEIGHT / top if top > 0 else 0.0
    drawn = [(index * step, HEIGHT - value * scale) for index, value in enumerate(values) if value is not None]
    if len(drawn) == 1:
        drawn *= 2  # a line from a point to itself is drawn as a dot, a point alone is not
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)

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


@attrs.frozen(kw_only=True)
class Curve:
    """A drawing: the points of its line and of the area below, as SVG has them, and what stands beside it."""

    title: str
    points: str
    area: str
    range: str  # the least and the most of a day
    top: str  # the value at the upper edge; empty where there is none


def draw(title: str, values: Sequence[float | None], unit: str = "", top: float | None = None) -> Curve:
    """Return the curve of values by day, None where there is none; from 0 to ``top``, or else to the highest."""
    known = [one for one in values if one is not None]
    highest, least = max(known, default=0.0), min(known, default=0.0)
    edge = highest if top is None else top
    drawn = points(values, edge)
    return Curve(
        title=title,
        points=drawn,
        area=_area(drawn),
        range=f"{_number(least)}{unit} to {_number(highest)}{unit} a day" if highest > 0 or least < 0 else "none",
        top=f"{_number(edge)}{unit}" if edge > 0 else "",
    )


def points(values: Sequence[float | None], top: float) -> str:
    """Return an SVG polyline's points for values from 0 to ``top``; days without a value are left out."""
    step = WIDTH / max(1, len(values) - 1)
    scale = HEIGHT / top if top > 0 else 0.0
    drawn = [(index * step, HEIGHT - value * scale) for index, value in enumerate(values) if value is not None]
    if len(drawn) == 1:
        drawn *= 2  # a line from a point to itself is drawn as a dot, a point alone is not
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)


def _area(line: str) -> str:
    """Return the polygon between a line and the axis."""
    if not line:
        return ""
    first, last = (point.partition(",")[0] for point in (line.split(maxsplit=1)[0], line.rsplit(maxsplit=1)[-1]))
    return f"{first},{HEIGHT:.1f} {line} {last},{HEIGHT:.1f}"


def _number(value: float) -> str:
    """A number as a person reads it, exact to a micro-credit."""
    return f"{value:,.6f}".rstrip("0").rstrip(".")

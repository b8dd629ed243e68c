"""The month's earnings as a curve, and as a table for those who do not see it.  Pure."""

from __future__ import annotations

from edgeagent.node.page.books import Books
from edgeagent.node.page.markup import Markup, join, tag
from edgeagent.wire.units import format_credits

#: The picture's size in its own units, and what is left free around the curve for its line and its dot.
_WIDTH, _HEIGHT, _EDGE = 600, 140, 8


def picture(books: Books) -> Markup:
    """Return an SVG whose title says what it shows."""
    points = _points([ucr for _, ucr in books.curve])
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    (first_x, _), (last_x, last_y) = points[0], points[-1]
    floor = _HEIGHT - _EDGE
    said = (
        f"Credits earned in {books.today:%B %Y}: {format_credits(books.month_ucr)} by day {books.today.day}, "
        f"{format_credits(books.today_ucr)} of them that day"
    )
    return tag(
        "svg",
        tag("title", said, id="curve-title"),
        tag("polygon", points=f"{first_x:.1f},{floor} {line} {last_x:.1f},{floor}", class_="area"),
        tag("polyline", points=line, class_="line"),
        tag("circle", cx=f"{last_x:.1f}", cy=f"{last_y:.1f}", r=4, class_="dot"),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_labelledby="curve-title",
    )


def table(books: Books) -> Markup:
    """Return the days on which something was earned."""
    rows = [
        tag(
            "tr",
            tag("th", tag("time", day.isoformat(), datetime=day.isoformat()), scope="row"),
            tag("td", format_credits(ucr)),
        )
        for day, ucr in books.days
    ]
    head = tag("tr", tag("th", "Day", scope="col"), tag("th", "Credits", scope="col"))
    return tag(
        "table", tag("caption", "Credits by day (UTC)"), tag("thead", head), tag("tbody", join(*rows)), class_="hidden"
    )


def _points(sums: list[int]) -> list[tuple[float, float]]:
    low, high = min(0, *sums), max(1, *sums)
    across, up = _WIDTH - 2 * _EDGE, _HEIGHT - 2 * _EDGE
    if len(sums) == 1:
        sums = [0, *sums]  # a line from nothing to what the first day has brought
    return [
        (_EDGE + across * place / (len(sums) - 1), _HEIGHT - _EDGE - up * (ucr - low) / (high - low))
        for place, ucr in enumerate(sums)
    ]

"""What a node has earned this month, as its gateway says it.  Pure; the answer is checked, for it is foreign."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import attrs

#: Most micro-credits that are believed of one day: what an integer in the gateway's store can hold.
_MOST_UCR = 1 << 63


@attrs.frozen(kw_only=True)
class Books:
    """Earnings in micro-credits; days are UTC's, oldest first, and only those on which there were any."""

    today: date
    today_ucr: int
    month_ucr: int
    days: tuple[tuple[date, int], ...] = ()

    @property
    def curve(self) -> tuple[tuple[date, int], ...]:
        """The month's sum at the end of each day, from its first to today."""
        by_day, total, found = dict(self.days), 0, []
        for number in range(1, self.today.day + 1):
            day = self.today.replace(day=number)
            total += by_day.get(day, 0)
            found.append((day, total))
        return tuple(found)


def read(answer: Mapping[str, Any]) -> Books | None:
    """Return what ``GET /nodes/me/earnings`` has answered; None where that makes no sense."""
    try:
        return Books(
            today=date.fromisoformat(answer["today"]["name"]),
            today_ucr=_ucr(answer["today"]),
            month_ucr=_ucr(answer["total"]),
            days=tuple((date.fromisoformat(one["name"]), _ucr(one)) for one in answer["days"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _ucr(row: Mapping[str, Any]) -> int:
    value = row["earned_ucr"]
    if type(value) is not int or abs(value) >= _MOST_UCR:
        raise ValueError(value)
    return value

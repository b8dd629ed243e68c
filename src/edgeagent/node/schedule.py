"""When jobs may run: windows of the week, by the clock on the wall where the node stands.  Pure.

A window is open whenever that clock shows a time in it, so nobody has to think of summer time: an hour that is skipped
is not there, one that comes twice counts twice.  What the clock shows at a moment is the caller's to say (``Clock``).
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import attrs

DAY_MIN, WEEK_MIN = 1440, 7 * 1440
#: Seconds after which a week of windows has shown all it does, with a day for a clock that was changed in it.
HORIZON_S = 8 * 86400.0
#: Seconds between two looks for a change of the clock; no zone has ever had two changes so close.
_LOOK_S = 6 * 3600.0
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(
    r"(?P<days>daily|[a-z]{3}(?:[,-][a-z]{3})*)?"
    r"(?:\s*(?P<from_h>[0-9]{1,2}):(?P<from_m>[0-9]{2})\s*-\s*(?P<to_h>[0-9]{1,2}):(?P<to_m>[0-9]{2}))?",
    re.IGNORECASE,
)
SAID = "a window like 'mon-fri 18:00-08:00', 'sat,sun' or '22:00-06:00'"

#: Returns the date and time, without a zone, that the wall's clock shows at a moment in seconds since the epoch.
Clock = Callable[[float], datetime]


@attrs.frozen
class Window:
    """A part of the week, in minutes from Monday 00:00; one that starts late on Sunday ends on Monday."""

    start_min: int
    length_min: int

    def holds(self, minute: int) -> bool:
        """Say whether a minute of the week is in it."""
        return (minute - self.start_min) % WEEK_MIN < self.length_min


@attrs.frozen
class Opening:
    """Whether it is open now, and when that changes, in seconds since the epoch; None: not within a week."""

    is_open: bool
    changes_at: float | None = None


def clock(zone: str) -> Clock:
    """Return the clock of a time zone, or of this machine for ``local``.

    Raises:
        ValueError: this machine does not know the zone.
    """
    if zone == "local":
        return datetime.fromtimestamp
    try:
        info = zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a directory of zones
        raise ValueError from None
    return lambda moment: datetime.fromtimestamp(moment, info).replace(tzinfo=None)


def parse(text: str) -> tuple[Window, ...]:
    """Return the windows that one line stands for: days, times, or both; times past midnight end on the next day.

    Raises:
        ValueError: not such a line; the text says how one is written.
    """
    match = _WINDOW.fullmatch(text.strip())
    if match is None or not match[0]:
        raise ValueError(f"{text[:60]!r} is not {SAID}")
    start, length = 0, DAY_MIN
    if match["from_h"] is not None:
        start, end = _minute(text, match["from_h"], match["from_m"]), _minute(text, match["to_h"], match["to_m"])
        if start in (DAY_MIN, end):
            raise ValueError(f"{text[:60]!r} opens at no time of a day, or for no time; write {SAID}")
        length = (end - start) % DAY_MIN or DAY_MIN
    return tuple(Window(day * DAY_MIN + start, length) for day in _days(text, match["days"]))


def is_open(windows: Iterable[Window], shown: datetime) -> bool:
    """Say whether a clock that shows this is in a window."""
    minute = shown.weekday() * DAY_MIN + shown.hour * 60 + shown.minute
    return any(window.holds(minute) for window in windows)


def opening(windows: Sequence[Window], wall: Clock, now: float) -> Opening:
    """Return whether it is open at ``now`` (seconds since the epoch), and when that changes next."""
    open_now = is_open(windows, wall(now))
    for start, end in _stretches(wall, now, now + HORIZON_S):
        ahead = _ahead(wall, start)
        for moment in sorted({start, *(m for w in windows for m in _edges(w, start + ahead, end + ahead, ahead))}):
            if is_open(windows, wall(moment)) != open_now:
                return Opening(open_now, moment)
    return Opening(open_now)


@attrs.frozen(kw_only=True)
class Plan:
    """The owner's windows: for all jobs, and for some types of them instead.  None at all: always."""

    general: tuple[Window, ...] | None = None
    by_type: Mapping[str, tuple[Window, ...]] = attrs.Factory(dict)

    @property
    def limited(self) -> bool:
        """Whether there is any window at all."""
        return self.general is not None or bool(self.by_type)

    def is_open(self, job_type: str, wall: Clock, now: float) -> bool:
        """Return whether jobs of a type may run at ``now``, without looking ahead."""
        windows = self.by_type.get(job_type, self.general)
        return windows is None or is_open(windows, wall(now))

    def opening(self, job_type: str, wall: Clock, now: float) -> Opening:
        """Return whether jobs of a type may run at ``now``, and when that changes next."""
        windows = self.by_type.get(job_type, self.general)
        return Opening(True) if windows is None else opening(windows, wall, now)


ALWAYS = Plan()


def _minute(text: str, hours: str, minutes: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > DAY_MIN:
        raise ValueError(f"{text[:60]!r} holds a time that no clock shows; write {SAID}")
    return minute


def _days(text: str, days: str | None) -> list[int]:
    if days is None or days.lower() == "daily":
        return list(range(7))
    found: list[int] = []
    for part in days.lower().split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ValueError(f"{text[:60]!r} names a day that is none of {', '.join(_DAYS)}; write {SAID}")
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        found += [(start + step) % 7 for step in range((end - start) % 7 + 1)]
    return found


def _stretches(wall: Clock, start: float, end: float) -> Iterable[tuple[float, float]]:
    """Yield the stretches of time in which the clock is not changed."""
    begun = moment = start
    while moment < end:
        later = min(moment + _LOOK_S, end)
        if _ahead(wall, later) != _ahead(wall, moment):
            low, high = moment, later
            while high - low > 0.5:
                middle = (low + high) / 2
                low, high = (middle, high) if _ahead(wall, middle) == _ahead(wall, moment) else (low, middle)
            changed = float(round(high))
            yield begun, changed
            begun = changed
        moment = later
    yield begun, end


def _ahead(wall: Clock, moment: float) -> float:
    """Return how far the clock is ahead of UTC, in whole seconds."""
    return round(wall(moment).replace(tzinfo=UTC).timestamp() - moment)


def _edges(window: Window, shown_from: float, shown_to: float, ahead: float) -> Iterable[float]:
    """Yield the moments between two of the wall's times at which a window opens or closes."""
    monday = datetime(1970, 1, 5, tzinfo=UTC).timestamp()
    for edge_min in (window.start_min, window.start_min + window.length_min):
        first = monday + edge_min * 60
        shown = first + -(-(shown_from - first) // (WEEK_MIN * 60)) * WEEK_MIN * 60
        while shown < shown_to:
            yield shown - ahead
            shown += WEEK_MIN * 60

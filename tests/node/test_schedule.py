"""Windows of the week against a clock on a wall, changes of that clock included."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.node.schedule import DAY_MIN, HORIZON_S, WEEK_MIN, Opening, Plan, Window, is_open, opening, parse

#: Zones whose clocks are changed by an hour, by half an hour, never, and at midnight.
ZONES = ("Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago", "UTC")


def _clock(zone: str) -> Callable[[float], datetime]:
    info = ZoneInfo(zone)
    return lambda moment: datetime.fromtimestamp(moment, info).replace(tzinfo=None)


def _at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("mon", [(0, 1440)]),
        ("sat,sun", [(5 * 1440, 1440), (6 * 1440, 1440)]),
        ("Mon-Fri 18:00-08:00", [(day * 1440 + 1080, 840) for day in range(5)]),
        ("fri-mon 00:00-24:00", [(day * 1440, 1440) for day in (4, 5, 6, 0)]),
        ("22:00 - 06:00", [(day * 1440 + 1320, 480) for day in range(7)]),
        ("daily 9:30-10:00", [(day * 1440 + 570, 30) for day in range(7)]),
        ("daily", [(day * 1440, 1440) for day in range(7)]),
        ("sun 23:00-01:00", [(6 * 1440 + 1380, 120)]),
        ("mon 18:00-00:00", [(1080, 360)]),
    ],
)
def test_windows_are_written_as_people_say_them(text: str, windows: list[tuple[int, int]]) -> None:
    """Days, times, or both; a time past midnight belongs to the day on which it began."""
    assert [Window(*one) for one in windows] == list(parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "mon-",
        "mon 25:00-26:00",
        "mon 10:60-11:00",
        "10:00-10:00",
        "24:00-10:00",
        "xyz 10:00-11:00",
        "10-11",
    ],
)
def test_what_is_no_window_is_refused_with_an_example(text: str) -> None:
    """One line."""
    with pytest.raises(ValueError, match="window like 'mon-fri 18:00-08:00'"):
        parse(text)


def test_it_says_when_it_changes() -> None:
    """Closed in the afternoon, open at six, closed the next morning."""
    windows, clock = parse("mon-fri 18:00-08:00"), _clock("Europe/Berlin")

    assert Opening(False, _at("2026-11-25 18:00")) == opening(windows, clock, _at("2026-11-25 15:00"))
    assert Opening(True, _at("2026-11-26 08:00")) == opening(windows, clock, _at("2026-11-25 18:00"))
    assert Opening(False, _at("2026-11-30 18:00")) == opening(windows, clock, _at("2026-11-28 08:00"))


def test_windows_that_meet_are_one() -> None:
    """No change where one ends and the next begins."""
    windows = (*parse("mon 10:00-12:00"), *parse("mon 12:00-13:00"))

    assert Opening(True, _at("2026-11-23 13:00")) == opening(windows, _clock("Europe/Berlin"), _at("2026-11-23 11:00"))


def test_a_week_without_a_change_has_none() -> None:
    """Always open, and never."""
    assert Opening(True) == opening(parse("daily"), _clock("Europe/Berlin"), 0.0)
    assert Opening(False) == opening((), _clock("Europe/Berlin"), 0.0)


def test_an_hour_that_is_skipped_is_not_there() -> None:
    """29 March 2026: the clock goes from 2 to 3, so 02:15 to 02:45 never comes, and 02:30 to 05:00 begins at 3."""
    clock, midnight = _clock("Europe/Berlin"), _at("2026-03-29 00:00")

    assert Opening(False, _at("2026-04-05 02:15")) == opening(parse("sun 02:15-02:45"), clock, midnight)
    assert Opening(False, _at("2026-03-29 03:00")) == opening(parse("sun 02:30-05:00"), clock, midnight)


def test_an_hour_that_comes_twice_counts_twice() -> None:
    """25 October 2026: the clock goes from 3 back to 2, so 02:30 passes twice."""
    clock, windows = _clock("Europe/Berlin"), parse("sun 01:30-02:30")

    first = opening(windows, clock, _at("2026-10-25 01:30"))
    assert Opening(True, _at("2026-10-25 02:30")) == first
    again = opening(windows, clock, _at("2026-10-25 02:30"))
    assert Opening(False, _at("2026-10-25 02:00", fold=1)) == again
    assert Opening(True, _at("2026-10-25 02:30", fold=1)) == opening(windows, clock, _at("2026-10-25 02:00", fold=1))


_WINDOWS = st.lists(st.builds(Window, st.integers(0, WEEK_MIN - 1), st.integers(1, DAY_MIN)), max_size=4)
#: Days around which the clocks above are changed, and others.
_MOMENTS = st.one_of(
    *(
        st.integers(0, 4 * 86400).map(
            lambda s, day=day: datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() + s
        )
        for day in ("2026-03-27", "2026-10-23", "2026-04-03", "2026-09-04", "2026-10-02", "2026-06-01")
    )
)


@given(st.sampled_from(ZONES), _WINDOWS, _MOMENTS)
def test_the_next_change_is_the_first_one(zone: str, windows: list[Window], now: float) -> None:
    """Against looking at the wall every half minute: nothing changes before, and the change is one."""
    clock = _clock(zone)
    found = opening(windows, clock, now)
    until = found.changes_at if found.changes_at is not None else now + HORIZON_S

    assert found.is_open == is_open(windows, clock(now))
    seen = _looks(windows, clock, now, until)
    assert {found.is_open} == seen
    if found.changes_at is not None:
        assert is_open(windows, clock(found.changes_at)) != found.is_open


def _looks(windows: list[Window], clock: Callable[[float], datetime], start: float, end: float) -> set[bool]:
    """Look every five minutes, and every half minute of the last two hours."""
    moments = [start + 300 * step for step in range(int((end - start) // 300) + 1)]
    moments += [max(start, end - 0.5 - 30 * step) for step in range(240)]
    return {is_open(windows, clock(moment)) for moment in moments if moment < end}


def test_a_type_with_windows_of_its_own_goes_by_those() -> None:
    """They hold instead of the general ones; an empty list closes for good."""
    clock, noon = _clock("UTC"), datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
    plan = Plan(general=parse("18:00-08:00"), by_type={"echo": parse("daily"), "render": ()})

    assert Opening(True) == plan.opening("echo", clock, noon)
    assert Opening(False) == plan.opening("render", clock, noon)
    assert Opening(False, noon + 6 * 3600) == plan.opening("inference", clock, noon)
    assert Opening(True) == Plan().opening("inference", clock, noon)


def test_the_local_clock_of_this_machine_will_do() -> None:
    """``datetime.fromtimestamp`` is such a clock."""
    now = datetime(2026, 11, 25, 12, 0, 30).timestamp()

    found = opening(parse("daily 12:00-13:00"), datetime.fromtimestamp, now)

    assert found.is_open
    assert found.changes_at is not None
    assert timedelta(minutes=59, seconds=30) == datetime.fromtimestamp(found.changes_at) - datetime.fromtimestamp(now)

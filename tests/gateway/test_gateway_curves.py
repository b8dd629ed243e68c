"""A node's last days, as figures and as points."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway import curves
from edgeagent.wire.messages import NodeState

DAY_S = 86400.0


def test_a_day_has_the_part_of_each_state_that_falls_on_it() -> None:
    """Days before the registration have no uptime, today counts so far."""
    spells = [
        (NodeState.REGISTERED, 1.5 * DAY_S, 1.75 * DAY_S),
        (NodeState.HEALTHY, 1.75 * DAY_S, 2.5 * DAY_S),
        (NodeState.OFFLINE, 2.5 * DAY_S, None),
    ]

    found = curves.days(spells, {2: (3, 30)}, 3.25 * DAY_S, 4)

    assert [one.uptime_percent for one in found] == [None, 50.0, 50.0, 0.0]
    assert [(one.jobs, one.earned_ucr) for one in found] == [(0, 0), (0, 0), (3, 30), (0, 0)]
    assert [one.date.isoformat() for one in found] == ["1970-01-01", "1970-01-02", "1970-01-03", "1970-01-04"]


@given(st.lists(st.tuples(st.sampled_from(NodeState), st.floats(0, 5 * DAY_S), st.floats(0, 5 * DAY_S)), max_size=6))
def test_uptime_is_a_percentage_whatever_the_clock_did(spells: list[tuple[NodeState, float, float]]) -> None:
    """Also where a state seems to end before it began."""
    for day in curves.days(spells, {}, 4 * DAY_S, 30):
        assert day.uptime_percent is None or 0 <= day.uptime_percent <= 100


def test_a_curve_goes_from_the_bottom_to_the_top() -> None:
    """A day without a value is left out, and all nothing is a line at the bottom."""
    assert curves.points([0, None, 5], 5) == "0.0,120.0 600.0,0.0"
    assert curves.points([None, None, 5], 10) == "600.0,60.0 600.0,60.0"
    assert curves.points([0, 0], 0) == "0.0,120.0 600.0,120.0"


def test_a_drawing_says_its_numbers_as_people_read_them() -> None:
    """Large ones whole, small ones exact, what was taken back with its sign; and nothing at all in a word."""
    large = curves.draw("Credits", [0.0, 1_234_567.5])
    assert (large.range, large.top) == ("0 to 1,234,567.5 a day", "1,234,567.5")
    uptime = curves.draw("Uptime", [None, 50.0], " %", top=100.0)
    assert (uptime.range, uptime.top) == ("50 % to 50 % a day", "100 %")
    idle = curves.draw("Jobs", [0.0, 0.0])
    assert (idle.range, idle.top) == ("none", "")
    assert curves.draw("Credits", [0.0, -2.5]).range == "-2.5 to 0 a day"


def test_the_area_lies_between_the_line_and_the_axis() -> None:
    """It begins and ends below the line's ends, also where the first days have no value."""
    assert curves.draw("x", [None, 5.0, 10.0]).area == "300.0,120.0 300.0,60.0 600.0,0.0 600.0,120.0"
    assert curves.draw("x", [None]).area == ""

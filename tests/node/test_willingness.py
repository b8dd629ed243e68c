"""May a job be taken now, why not, and until when: of all reasons together, and of each as it comes and goes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.node.gate import Gate
from edgeagent.node.schedule import Plan, parse
from edgeagent.node.willingness import Circumstances, Code, Pause, Reason, against, closed, general

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
NIGHTS = Plan(general=parse("18:00-08:00"), by_type={"echo": parse("daily"), "never": ()})


def _wall(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)


AROUND = Circumstances(plan=NIGHTS, wall=_wall)
BATTERY = Reason(code=Code.BATTERY, text="on battery")


def test_nothing_against_it_means_yes() -> None:
    """A node of which its owner wants nothing in particular takes everything."""
    assert () == against("render", Circumstances(), NOON)


def test_a_closed_window_says_when_it_opens() -> None:
    """For the types that it is about."""
    (reason,) = against("render", AROUND, NOON)
    (never,) = against("never", AROUND, NOON)

    assert (Code.WINDOW, NOON + 6 * 3600) == (reason.code, reason.until)
    assert (Code.WINDOW, None) == (never.code, never.until)
    assert () == against("echo", AROUND, NOON)
    assert ("render", "never") == closed(("echo", "render", "never"), AROUND, NOON)


@pytest.mark.parametrize(
    ("change", "code", "until"),
    [
        ({"stopping": "the node is being stopped"}, Code.STOPPING, None),
        ({"pause": Pause(since=0.0)}, Code.PAUSED, None),
        ({"pause": Pause(since=0.0, until=NOON + 1)}, Code.PAUSED, NOON + 1),
        ({"conditions": {Code.BATTERY: BATTERY}}, Code.BATTERY, None),
    ],
)
def test_what_is_against_all_is_against_each(change: dict[str, object], code: Code, until: float | None) -> None:
    """Also where its window is open."""
    around = attrs.evolve(AROUND, **change)

    assert [(code, until)] == [(one.code, one.until) for one in against("echo", around, NOON)]
    assert [code, Code.WINDOW] == [one.code for one in against("render", around, NOON)]
    assert ("echo", "render") == closed(("echo", "render"), around, NOON)


def test_a_pause_ends_by_itself() -> None:
    """At its moment, not after."""
    around = Circumstances(pause=Pause(since=0.0, until=NOON))

    assert ((), False) == (general(around, NOON), Pause(since=0.0, until=NOON).holds(NOON))
    assert general(around, NOON - 1)


@given(
    st.builds(
        Circumstances,
        stopping=st.none() | st.just("so"),
        pause=st.none() | st.builds(Pause, since=st.just(0.0), until=st.none() | st.floats(NOON - 9, NOON + 9)),
        conditions=st.dictionaries(st.sampled_from(Code), st.just(BATTERY), max_size=2),
        short=st.dictionaries(st.sampled_from(("echo", "render")), st.just(BATTERY)),
        plan=st.just(NIGHTS),
        wall=st.just(_wall),
    ),
    st.floats(NOON - 86400, NOON + 86400),
)
def test_the_quick_answer_is_the_thorough_one(around: Circumstances, now: float) -> None:
    """What the gateway is told, and what is said to the owner, never differ."""
    types = ("echo", "render", "never")

    assert closed(types, around, now) == tuple(one for one in types if against(one, around, now))


async def test_a_pause_survives_the_node(tmp_path: Path) -> None:
    """Until it is ended, or its time is over."""
    now = NOON
    gate = Gate(now=lambda: now, home=tmp_path)
    assert gate.pause(3600).until == NOON + 3600

    assert [Code.PAUSED] == [one.code for one in Gate(now=lambda: now, home=tmp_path).general()]
    now += 3600
    assert () == Gate(now=lambda: now, home=tmp_path).general()
    now = NOON
    again = Gate(now=lambda: now, home=tmp_path)
    assert (True, False) == (again.resume(), again.resume())
    assert () == Gate(now=lambda: now, home=tmp_path).general()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"since": 1}', '{"since": "x", "until": null}'])
async def test_a_pause_that_cannot_be_read_holds(tmp_path: Path, content: str) -> None:
    """Better idle than against its owner's will; resume clears it."""
    (tmp_path / "pause.json").write_text(content)
    gate = Gate(now=lambda: NOON, home=tmp_path)

    assert [Code.PAUSED] == [one.code for one in gate.general()]
    gate.resume()
    assert () == Gate(now=lambda: NOON, home=tmp_path).general()


async def test_a_pause_that_cannot_be_kept_is_not_in_force(tmp_path: Path) -> None:
    """Or it would be forgotten at the next start, without a word."""
    gate = Gate(now=lambda: NOON, home=tmp_path / "gone")

    with pytest.raises(OSError, match="No such file"):
        gate.pause()
    assert () == gate.general()


async def test_every_change_wakes_who_waits(tmp_path: Path) -> None:
    """A condition noted twice is no news, and neither are other words for it."""
    gate, woken = Gate(now=lambda: NOON, home=tmp_path), []

    for change in (
        gate.pause,
        gate.resume,
        lambda: gate.note(Code.BATTERY, BATTERY),
        lambda: gate.note(Code.BATTERY, BATTERY),
        lambda: gate.note(Code.BATTERY, attrs.evolve(BATTERY, text="still on battery")),
        lambda: gate.note(Code.BATTERY, None),
        lambda: gate.stop("so"),
    ):
        event = gate.changed
        change()
        woken.append(event.is_set())

    assert [True, True, True, False, False, True, True] == woken

"""The owner's own use of the machine keeps jobs away, and a moment of it, or of none, does not."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from edgeagent.node import hostwatch, terms
from edgeagent.node.gate import Gate
from edgeagent.node.options.sections import Pause
from edgeagent.node.options.settings import Settings
from edgeagent.node.pauses import BUSY_S, PLUGGED_S, QUIET_S, Latch, Pauses, Readings, Times, Wishes
from edgeagent.node.willingness import Code

ALL = Wishes(battery=True, activity_s=600.0, load=0.5)


class Script:
    """A host whose readings the test sets."""

    def __init__(self, **readings: object) -> None:
        self.now = Readings(**readings)

    async def read(self) -> Readings:
        await trio.lowlevel.checkpoint()
        return self.now


def _watch(nursery: trio.Nursery, host: Script, wishes: Wishes = ALL) -> Gate:
    gate = Gate()
    nursery.start_soon(functools.partial(hostwatch.run, gate, wishes, host.read))
    return gate


def _codes(gate: Gate) -> list[Code]:
    return [reason.code for reason in gate.general()]


async def _until(gate: Gate, codes: list[Code]) -> float:
    """Wait until these are all that speaks against jobs; return how many seconds that took."""
    since = trio.current_time()
    while _codes(gate) != codes:
        await gate.changed.wait()
    return trio.current_time() - since


async def test_battery_counts_at_once_and_mains_after_a_while(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Somebody who pulls the plug wants the battery to last."""
    host = Script(on_battery=True)
    gate = _watch(nursery, host)

    assert await _until(gate, [Code.BATTERY]) == 0
    host.now = Readings(on_battery=False)
    assert PLUGGED_S <= await _until(gate, []) <= PLUGGED_S + 2 * hostwatch.LOOK_S


async def test_a_plug_that_wiggles_does_not_count(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The wait starts anew each time."""
    host = Script(on_battery=True)
    gate = _watch(nursery, host)
    await _until(gate, [Code.BATTERY])

    for _ in range(20):
        host.now = Readings(on_battery=not host.now.on_battery)
        await trio.sleep(hostwatch.LOOK_S)
        assert [Code.BATTERY] == _codes(gate)


async def test_jobs_come_back_when_nobody_was_there_for_long_enough(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """As long as the owner has said."""
    host = Script(active=True)
    gate = _watch(nursery, host)

    assert await _until(gate, [Code.USER]) == 0
    host.now = Readings(active=False)
    assert 600 <= await _until(gate, []) <= 600 + 2 * hostwatch.LOOK_S


async def test_load_counts_when_it_lasts_and_ends_below_where_it_began(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A limit of one half: 60 % for half a minute, then 45 % is still too much, and 30 % for a minute is not."""
    host = Script(others=0.6)
    gate = _watch(nursery, host)

    assert BUSY_S <= await _until(gate, [Code.LOAD]) <= BUSY_S + hostwatch.LOOK_S
    assert "60%" in gate.general()[0].text
    host.now = Readings(others=0.45)
    await trio.sleep(3600)
    assert [Code.LOAD] == _codes(gate)
    host.now = Readings(others=0.3)
    assert QUIET_S <= await _until(gate, []) <= QUIET_S + 2 * hostwatch.LOOK_S


async def test_a_host_that_does_not_tell_speaks_against_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """And the owner, who has asked for it, hears once of each that it has no effect."""
    with capture_logs() as logs:
        gate = _watch(nursery, Script())
        await trio.sleep(3600)

    assert [] == _codes(gate)
    assert ["pause.battery has no effect", "pause.activity has no effect"] == [
        each["event"].partition(":")[0] for each in logs
    ]


async def test_what_comes_to_nothing_is_known_until_the_host_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A battery may be put in later."""
    batteries = [None, False]
    monkeypatch.setattr(hostwatch, "on_battery", lambda: batteries.pop(0))
    host = hostwatch.Host(Wishes(battery=True))

    await host.read()
    before = host.unheeded
    await host.read()

    assert (1, ()) == (len(before), host.unheeded)
    assert before[0].startswith("pause.battery has no effect: this machine has no battery")


async def test_what_the_owner_does_not_want_is_not_looked_at(autojump_clock: MockClock) -> None:
    """The watch is over at once, and the rules pass over what nobody asked for."""
    await hostwatch.run(Gate(), Wishes(), Script().read)
    pauses = Pauses().read(Wishes(battery=True), Readings(on_battery=False, active=True, others=1.0), 0.0)

    assert not any(pauses.reasons().values())


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 100)), max_size=50))
def test_a_latch_turns_only_after_readings_that_agree_for_long_enough(steps: list[tuple[bool, float]]) -> None:
    """Whatever the readings and however far apart."""
    latch, now, opposite_since = Latch(), 0.0, None
    for seen, after in steps:
        now += after
        before, latch = latch, latch.read(seen, now, on_after_s=30.0, off_after_s=60.0)
        opposite_since = None if seen == before.on else now if opposite_since is None else opposite_since
        patience = 60.0 if before.on else 30.0
        turned = opposite_since is not None and now - opposite_since >= patience
        assert turned == (latch.on != before.on)
        opposite_since = None if turned else opposite_since


@pytest.mark.parametrize(
    ("after", "others"),
    [
        (Times(total=110, busy=58, own=3), 0.5),  # of 8 busy seconds, 3 were the node's
        (Times(total=110, busy=52, own=9), 0.0),  # a job's time that was reaped late
        (Times(total=110, busy=60, own=-5), 1.0),  # what was seen of a job is gone with it
        (Times(total=100, busy=50, own=0), None),  # no time between two looks
    ],
)
def test_what_the_node_uses_is_not_others(after: Times, others: float | None) -> None:
    """From readings of which one may be late."""
    assert others == after.others(Times(total=100, busy=50, own=0))


def test_the_options_become_wishes() -> None:
    """A percentage is a part of all processors."""
    pause = Pause(battery=True, activity_s=600.0, load_percent=50)

    assert ALL == terms.wishes(Settings(pause=pause))
    assert not terms.wishes(Settings()).any


def test_this_machine_counts_what_this_process_uses_as_the_nodes_own() -> None:
    """Half a second of work shows up among the node's times, and in the machine's."""
    before = hostwatch.times()
    began = time.process_time()
    while time.process_time() - began < 0.5:
        pass
    after = hostwatch.times()

    assert after.own - before.own >= 0.4
    assert after.busy - before.busy >= 0.4
    assert after.total - before.total >= after.busy - before.busy
    assert 0 <= (after.others(before) or 0) <= 1


async def test_this_machine_is_read() -> None:
    """Everything at once, from the real host: each a value or nothing, and the second look knows the load."""
    host = hostwatch.Host(ALL)
    first, second = await host.read(), Readings()
    with trio.fail_after(60):
        while second.others is None:
            second = await host.read()

    assert first.others is None
    assert 0 <= second.others <= 1
    assert second.on_battery in (None, True, False)
    batteries = [path for path in Path("/sys/class/power_supply").glob("*") if path.name.startswith("BAT")]
    assert batteries or second.on_battery is None


@pytest.mark.parametrize(
    ("script", "answer"),
    [("echo 'b true'", False), ("echo 'b false'", True), ("echo 'b maybe'", None), ("exit 1", None)],
)
async def test_logind_is_asked_by_busctl(tmp_path: Path, script: str, answer: bool | None) -> None:
    """A program that answers as busctl does, or fails as it does where there is no bus."""
    program = tmp_path / "busctl"
    program.write_text(f'#!/bin/sh\n[ "$6" = IdleHint ] || exit 2\n{script}\n')
    program.chmod(0o755)

    assert answer is await hostwatch.active(str(program))


async def test_without_busctl_nobody_knows(tmp_path: Path) -> None:
    """As in a container."""
    assert None is await hostwatch.active(str(tmp_path / "busctl"))


async def test_a_silent_logind_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is ended, and the watch goes on."""
    monkeypatch.setattr(hostwatch, "ASK_S", 0.2)
    program, pid = tmp_path / "busctl", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec /bin/sleep 1000\n")
    program.chmod(0o755)

    assert None is await hostwatch.active(str(program))
    with (
        contextlib.suppress(FileNotFoundError),
        pytest.raises(ProcessLookupError),
    ):  # too slow to have started: gone, too
        os.kill(int(pid.read_text()), 0)

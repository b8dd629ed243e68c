"""A machine that was suspended: noticed by two clocks, and the link is opened anew without a wait."""

from __future__ import annotations

import functools
import random

import pytest
import trio
from gateway_peer import Gateway, GatewayEnd
from structlog.testing import capture_logs
from test_node_link import RecordingNode
from trio.testing import MockClock

from edgeagent.node import slumber
from edgeagent.node.backoff import Backoff
from edgeagent.node.outbox import Outbox
from edgeagent.node.relay import Relay
from edgeagent.node.session import Session
from edgeagent.node.slumber import LEAST_S, Clocks
from edgeagent.node.transport import LinkLost
from edgeagent.wire.messages import Heartbeat


class _Largest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.mark.parametrize(
    ("boot", "monotonic", "slept"),
    [
        (110.0, 60.0, 0.0),  # awake all the time
        (3710.0, 60.0, 3600.0),  # an hour of sleep among ten seconds awake
        (110.0 + LEAST_S - 0.01, 60.0, 0.0),
        (110.0 + LEAST_S, 60.0, LEAST_S),
        (109.9, 60.0, 0.0),  # the clocks are not read in one instant
    ],
)
def test_sleep_is_what_one_clock_is_ahead_of_the_other(boot: float, monotonic: float, slept: float) -> None:
    """From 100 s since the start, 50 of them awake, whatever was slept before."""
    assert slept == Clocks(boot=boot, monotonic=monotonic).slept(Clocks(boot=100.0, monotonic=50.0))


def test_this_machines_clocks_are_read() -> None:
    """The one that goes on in sleep is never behind by more than the time between two reads."""
    first, second = slumber.read(), slumber.read()

    assert first is not None
    assert second is not None
    assert first.boot <= second.boot
    assert first.boot - first.monotonic > -0.01
    assert 0.0 == second.slept(first)


async def test_each_sleep_is_told_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An hour of sleep after a minute, and another after two; setting the wall's clock changes neither clock."""
    asleep, woken = 0.0, []
    began = trio.current_time()

    def look() -> Clocks:
        awake = trio.current_time() - began
        return Clocks(boot=awake + asleep, monotonic=awake)

    nursery.start_soon(functools.partial(slumber.run, lambda: woken.append(trio.current_time() - began), look))
    with capture_logs() as logs:
        for _ in range(2):
            await trio.sleep(60)
            asleep += 3600
        await trio.sleep(3600)

    assert 2 == len(woken)
    assert all(at <= late <= at + slumber.LOOK_S for at, late in zip((60, 120), woken, strict=True))
    assert [3600, 3600] == [each["asleep_s"] for each in logs]


async def test_a_system_without_that_clock_is_left_alone(autojump_clock: MockClock) -> None:
    """The watch is over at once."""
    await slumber.run(lambda: pytest.fail("woken"), lambda: None)


class Bench:
    """A relay with the longest waits, in the test's hands."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.gateway, self.node = Gateway(), RecordingNode()
        self.relay = Relay(self.gateway.connect, Session(self.node, Outbox()), self.node, Backoff(_Largest()))
        nursery.start_soon(self.relay.run)

    async def linked(self) -> GatewayEnd:
        end = await self.gateway.accept()
        await end.welcome()
        await end.get(Heartbeat)
        return end


async def test_a_link_of_before_is_opened_anew_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Without the 45 seconds of silence, and without the second that a lost link waits."""
    bench = Bench(nursery)
    end = await bench.linked()
    asleep = trio.current_time()

    bench.relay.wake()
    await end.ended.wait()
    await bench.linked()

    assert asleep == trio.current_time()
    assert bench.relay.is_up()
    assert ["link lost"] == bench.node.calls


async def test_a_wait_ends_with_the_sleep_and_the_next_begins_small(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A laptop that was closed after an hour without network: at once, then after a second."""
    bench = Bench(nursery)
    bench.gateway.refusals = [LinkLost(1006, "Network is unreachable")] * 100
    await trio.sleep(600)
    tries = len(bench.gateway.connects)
    woken = trio.current_time()

    bench.relay.wake()
    await trio.sleep(0.5)
    assert [woken] == bench.gateway.connects[tries:]
    bench.gateway.refusals.clear()
    await bench.linked()

    assert woken + 1 == trio.current_time()

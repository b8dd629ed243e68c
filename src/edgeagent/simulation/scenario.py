"""What a simulated day holds: how many nodes and jobs, and which faults when.  Pure: all chance comes from ``rng``."""

from __future__ import annotations

import enum
import random
from collections.abc import Collection

import attrs
from attrs.validators import ge, gt


class FaultKind(enum.StrEnum):
    """What can go wrong; the value is its name on the command line."""

    CUT = "cut"  # the line breaks, and both ends hear of it
    STALL = "stall"  # nothing arrives for a while, then everything
    DELAY = "delay"  # everything arrives late
    HALF_OPEN = "half-open"  # one direction is lost, and nobody hears of it
    PARTITION = "partition"  # no way to the gateway, not even its name, for up to an hour; nobody hears of it
    SUSPEND = "suspend"  # the same, and the node then notices that its machine was asleep
    NODE_KILL = "node-kill"  # kill -9
    NODE_STOP = "node-stop"  # SIGTERM
    GATEWAY_KILL = "gateway-kill"
    GATEWAY_STOP = "gateway-stop"
    CLOCK = "clock"  # the gateway's wall clock is set


#: How often each happens: in an hour to one node, and for the last three in an hour to the gateway.
PER_NODE_HOUR = {
    FaultKind.CUT: 0.10,
    FaultKind.STALL: 0.06,
    FaultKind.DELAY: 0.06,
    FaultKind.HALF_OPEN: 0.04,
    FaultKind.PARTITION: 0.03,
    FaultKind.SUSPEND: 0.03,
    FaultKind.NODE_KILL: 0.06,
    FaultKind.NODE_STOP: 0.04,
}
PER_GATEWAY_HOUR = {FaultKind.GATEWAY_KILL: 0.3, FaultKind.GATEWAY_STOP: 0.2, FaultKind.CLOCK: 0.3}

#: Shortest and longest time in seconds that a fault lasts, or by which a clock is set.
LASTS_S = {
    FaultKind.STALL: (5.0, 200.0),
    FaultKind.DELAY: (60.0, 900.0),
    FaultKind.PARTITION: (60.0, 3600.0),
    FaultKind.SUSPEND: (60.0, 3600.0),
    FaultKind.NODE_KILL: (1.0, 600.0),
    FaultKind.NODE_STOP: (1.0, 600.0),
    FaultKind.GATEWAY_KILL: (1.0, 120.0),
    FaultKind.GATEWAY_STOP: (1.0, 120.0),
    FaultKind.CLOCK: (-7200.0, 7200.0),
}


@attrs.frozen(kw_only=True)
class Scenario:
    """What is simulated; ``jobs_per_hour`` are all submitters' together.

    The first ``cheaters`` nodes make up ``lies`` of their results, all the same where they do it ``together``; with
    ``checks`` the results of every job type are compared, by the usual policy.
    """

    nodes: int = attrs.field(default=50, validator=[ge(1), attrs.validators.le(1000)])
    hours: float = attrs.field(default=24.0, validator=gt(0))
    seed: int = 1
    jobs_per_hour: float = attrs.field(default=120.0, validator=ge(0))
    heartbeat_s: float = attrs.field(default=15.0, validator=gt(0))
    faults: frozenset[FaultKind] = frozenset(FaultKind)
    cheaters: int = attrs.field(default=0, validator=ge(0))
    lies: float = attrs.field(default=1.0, validator=[ge(0), attrs.validators.le(1)])
    together: bool = False
    checks: bool = False

    @property
    def seconds(self) -> float:
        """How long jobs are submitted and faults happen; the network then gets time to settle."""
        return self.hours * 3600.0


@attrs.frozen(order=True)
class Fault:
    """One fault: when, in seconds from the start, what, to which node (by number), and for how long or by how much."""

    at_s: float
    kind: FaultKind
    node: int
    lasts_s: float
    upwards: bool  # of a half-open line: what the node says is lost; otherwise what it should hear


def plan(scenario: Scenario, rng: random.Random) -> list[Fault]:
    """Return the faults of a day in the order in which they happen."""
    faults: list[Fault] = []
    for kind in FaultKind:  # each kind draws its own, so that leaving one out changes as little as possible
        rate = PER_NODE_HOUR[kind] * scenario.nodes if kind in PER_NODE_HOUR else PER_GATEWAY_HOUR[kind]
        for at_s in _arrivals(rate, scenario.seconds, rng):
            lasts_s = rng.uniform(*LASTS_S.get(kind, (0.0, 0.0)))
            faults.append(Fault(at_s, kind, rng.randrange(scenario.nodes), lasts_s, rng.random() < 0.5))
    return sorted(fault for fault in faults if fault.kind in scenario.faults)


def count(faults: Collection[Fault]) -> dict[str, int]:
    """Return how many of each kind there are."""
    return {kind.value: sum(fault.kind is kind for fault in faults) for kind in FaultKind}


def _arrivals(per_hour: float, seconds: float, rng: random.Random) -> list[float]:
    times: list[float] = []
    at_s = rng.expovariate(per_hour / 3600.0)
    while at_s < seconds:
        times.append(at_s)
        at_s += rng.expovariate(per_hour / 3600.0)
    return times

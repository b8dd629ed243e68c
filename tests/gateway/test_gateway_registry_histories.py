"""Random histories of nodes' health against the operator guide's table, told a second time from what was heard.

The model keeps no state machine: it remembers when each node was heard, which attempts failed since it last succeeded,
and works out from that, and from the numbers of the table, how the node must stand.
"""

from __future__ import annotations

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edgeagent.gateway.registry import Changed, Event, Registry
from edgeagent.wire.messages import NodeState

REGISTERED, HEALTHY, UNHEALTHY, OFFLINE = list(NodeState)[:4]
UNHEALTHY_S, OFFLINE_S, FAILURES = 90.0, 300.0, 3
NODES, JOBS = ("a", "b", "c"), ("1", "2", "3", "4", "5", "6")
nodes, jobs = st.sampled_from(NODES), st.sampled_from(JOBS)
#: Around the table's numbers, and anything between.
pauses = st.one_of(st.sampled_from([0.0, 14.9, 15.0, 89.9, 90.0, 210.0, 299.9, 300.0]), st.floats(0, 400))


@attrs.define
class Past:
    """What happened to one node."""

    heard_at: float | None = None
    failures: list[str] = attrs.Factory(list)  # jobs, since the last success, that were not their own fault
    benched: bool = False  # by its failures, since it was last heard

    def state(self, now: float) -> NodeState:
        """How it stands by the table."""
        if self.heard_at is None:
            return REGISTERED
        if now - self.heard_at >= OFFLINE_S:
            return OFFLINE
        return UNHEALTHY if self.benched or now - self.heard_at >= UNHEALTHY_S else HEALTHY


class Health(RuleBasedStateMachine):
    """Three nodes, six jobs, and durations."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(unhealthy_s=UNHEALTHY_S, offline_s=OFFLINE_S)
        self.now = 1e6
        self.past = {node: Past() for node in NODES}
        self.failed_on: dict[str, set[str]] = {job: set() for job in JOBS}
        self.told = dict.fromkeys(NODES, REGISTERED)
        for node in NODES:
            self.registry.add(node, self.now)

    def hear(self, changes: list[Changed]) -> None:
        """Remember what the registry tells; it never tells of a change that is none, nor without a cause."""
        for change in changes:
            assert change.state is not self.told[change.node_id]
            assert change.cause
            self.told[change.node_id] = change.state

    @rule(pause_s=pauses)
    def time_goes_on(self, pause_s: float) -> None:
        """And somebody looks whether it was too long."""
        self.now += pause_s
        self.hear(self.registry.silent(self.now))

    @rule(node=nodes)
    def heartbeat(self, node: str) -> None:
        """Whatever the node was, it is HEALTHY."""
        self.past[node].heard_at, self.past[node].benched = self.now, False
        self.hear(self.registry.heard(node, self.now))
        assert self.registry[node].state is HEALTHY

    @rule(node=nodes)
    def completed(self, node: str) -> None:
        """The failures before are forgotten; what they did to the node ends with its next heartbeat."""
        self.past[node].failures.clear()
        self.registry.succeeded(node)
        assert not self.registry[node].probation

    @rule(node=nodes, job=jobs)
    def failed(self, node: str, job: str) -> None:
        """An attempt of a job that fails on one node only counts; on two it counts against neither."""
        elsewhere = self.failed_on[job] - {node}
        self.failed_on[job].add(node)
        if elsewhere:
            for one in (node, *elsewhere):
                past = self.past[one]
                before, past.failures = len(past.failures), [other for other in past.failures if other != job]
                if before >= FAILURES > len(past.failures):
                    past.benched = False
        else:
            self.past[node].failures.append(job)
            if len(self.past[node].failures) >= FAILURES and self.past[node].state(self.now) is HEALTHY:
                self.past[node].benched = True
        self.hear(self.registry.failed(node, job, sorted(elsewhere)))

    @invariant()
    def the_table_holds(self) -> None:
        """For each node, in the registry and in what was told of it."""
        for node, past in self.past.items():
            assert self.registry[node].state is self.told[node] is past.state(self.now)
            assert self.registry[node].probation == (len(past.failures) >= FAILURES)
        counts = self.registry.counts()
        assert sum(counts.values()) == len(NODES)
        assert all(counts[state] == list(self.told.values()).count(state) for state in NodeState)


Health.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestHealth = Health.TestCase


@pytest.mark.parametrize("quiet_s", [0.0, 89.9])
@pytest.mark.parametrize("failures", range(5))
def test_a_restart_of_the_gateway_counts_silence_anew(quiet_s: float, failures: int) -> None:
    """What was stored of a node is believed, and it has its 90 s to come back; its failures stay."""
    registry = Registry(unhealthy_s=UNHEALTHY_S, offline_s=OFFLINE_S)
    registry.add("a", 1000.0, HEALTHY, [str(number) for number in range(failures)])
    assert registry["a"].probation == (failures >= FAILURES)
    assert registry.silent(1000.0 + quiet_s) == []
    (change,) = registry.silent(1090.0)
    assert (change.state, registry["a"].quiet) == (UNHEALTHY, True)


def test_a_silence_that_is_over_does_not_keep_a_node_benched() -> None:
    """It came back, failures benched it, one turns out to be its job's: HEALTHY, as if it had never been quiet."""
    registry = Registry(unhealthy_s=UNHEALTHY_S, offline_s=OFFLINE_S)
    for node in ("a", "b"):
        registry.add(node, 0.0)
    registry.heard("a", 0.0)
    registry.silent(UNHEALTHY_S)
    registry.heard("a", UNHEALTHY_S)
    for job in ("1", "2", "3"):
        registry.failed("a", job, [])
    assert registry["a"].state is UNHEALTHY
    assert registry.failed("b", "3", ["a"]) == [Changed("a", HEALTHY, Event.CLEARED.value)]

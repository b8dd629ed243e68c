"""The operator guide's table of node states, and who is blamed for a failed job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway.registry import MAX_FAILURES, TRANSITIONS, Changed, Event, Registry
from edgeagent.wire.messages import NodeState

REGISTERED, HEALTHY, UNHEALTHY, OFFLINE = list(NodeState)[:4]


def registry(*states: NodeState) -> Registry:
    """Return a registry of nodes "0", "1" ... in these states, last heard at 0."""
    made = Registry(unhealthy_s=90, offline_s=300)
    for number, state in enumerate(states):
        made.add(str(number), 0.0, state)
    return made


def changed(changes: list[Changed]) -> list[tuple[str, NodeState]]:
    return [(change.node_id, change.state) for change in changes]


def test_the_table_is_the_operator_guides() -> None:
    """Each line of its diagram, and no other way between those four states but back from a job's own failures."""
    lines = {
        ("REGISTERED", "HEARD", "HEALTHY"),
        ("HEALTHY", "FAILURES", "UNHEALTHY"),
        ("HEALTHY", "QUIET", "UNHEALTHY"),
        ("UNHEALTHY", "HEARD", "HEALTHY"),
        ("UNHEALTHY", "CLEARED", "HEALTHY"),
        ("HEALTHY", "GONE", "OFFLINE"),
        ("UNHEALTHY", "GONE", "OFFLINE"),
        ("OFFLINE", "HEARD", "HEALTHY"),
    }
    owners = {Event.APPROVED, Event.REVOKED}

    assert lines == {
        (before.value, event.name, after.value) for (before, event), after in TRANSITIONS.items() if event not in owners
    }


def test_each_change_says_what_caused_it() -> None:
    """In the words that are stored."""
    nodes = registry(REGISTERED, HEALTHY)
    changes = nodes.heard("0", 0.0)
    for job in ("a", "b", "poison"):
        changes += nodes.failed("0", job, [])
    changes += nodes.failed("1", "poison", ["0"]) + nodes.heard("1", 50.0) + nodes.silent(90.0) + nodes.silent(300.0)

    assert [(change.node_id, change.cause) for change in changes] == [
        ("0", "heartbeat"),
        ("0", "3 failed attempts in a row"),
        ("0", "the failures were the job's"),
        ("0", "no heartbeat"),
        ("1", "no heartbeat"),
        ("0", "no heartbeat for long"),
    ]


@pytest.mark.parametrize("before", [HEALTHY, UNHEALTHY])
def test_the_silence_of_a_node_that_was_read_from_the_store_counts_from_then(before: NodeState) -> None:
    """After a restart nobody is UNHEALTHY for ever: who does not come back is OFFLINE 5 minutes later."""
    nodes = registry(before)
    nodes.silent(299.9)
    assert nodes["0"].state is UNHEALTHY

    assert [("0", OFFLINE)] == changed(nodes.silent(300.0))


@pytest.mark.parametrize("before", [REGISTERED, UNHEALTHY, OFFLINE])
def test_a_heartbeat_makes_a_node_healthy(before: NodeState) -> None:
    """Whatever it was before: OFFLINE can be left."""
    nodes = registry(before)

    assert [("0", HEALTHY)] == changed(nodes.heard("0", 1.0))
    assert nodes["0"].state is HEALTHY


def test_silence_makes_a_node_unhealthy_at_90_s_and_offline_at_5_min() -> None:
    """Not a second earlier."""
    nodes = registry(HEALTHY)

    assert [] == nodes.silent(89.9)
    assert [("0", UNHEALTHY)] == changed(nodes.silent(90.0))
    assert [] == nodes.silent(299.9)
    assert [("0", OFFLINE)] == changed(nodes.silent(300.0))
    assert [] == nodes.silent(1e9)


def test_a_heartbeat_starts_the_silence_anew() -> None:
    """Heard at 80, the node is UNHEALTHY at 170."""
    nodes = registry(HEALTHY)
    nodes.heard("0", 80.0)

    assert [] == nodes.silent(169.9)
    assert [("0", UNHEALTHY)] == changed(nodes.silent(170.0))


def test_a_node_that_never_spoke_stays_registered() -> None:
    """There is no way from REGISTERED but a heartbeat."""
    nodes = registry(REGISTERED)

    assert [] == nodes.silent(1e9)
    assert nodes["0"].state is REGISTERED


def test_three_failures_in_a_row_make_a_node_unhealthy() -> None:
    """The third one, not the second."""
    nodes = registry(HEALTHY)

    assert [] == nodes.failed("0", "a", []) + nodes.failed("0", "b", [])
    assert [("0", UNHEALTHY)] == changed(nodes.failed("0", "c", []))


def test_a_success_starts_the_count_anew() -> None:
    """Two failures, a success, two failures: still HEALTHY."""
    nodes = registry(HEALTHY)
    for job in "ab":
        nodes.failed("0", job, [])
    nodes.succeeded("0")

    assert [] == nodes.failed("0", "c", []) + nodes.failed("0", "d", [])


def test_after_failures_a_node_is_on_probation_until_it_succeeds() -> None:
    """The heartbeat brings it back; one more failure and it is UNHEALTHY again; a success ends it."""
    nodes = registry(HEALTHY)
    for job in "abc":
        nodes.failed("0", job, [])

    assert [("0", HEALTHY)] == changed(nodes.heard("0", 1.0))
    assert nodes["0"].probation
    assert [("0", UNHEALTHY)] == changed(nodes.failed("0", "d", []))
    nodes.heard("0", 2.0)
    nodes.succeeded("0")
    assert not nodes["0"].probation


def test_a_node_that_was_only_silent_is_not_on_probation() -> None:
    """Silence is not failure."""
    nodes = registry(HEALTHY)
    nodes.silent(90.0)
    nodes.heard("0", 91.0)

    assert not nodes["0"].probation


def test_a_job_that_fails_on_two_nodes_counts_against_neither() -> None:
    """The second failure takes back what the first one charged."""
    nodes = registry(HEALTHY, HEALTHY)
    nodes.failed("0", "poison", [])

    nodes.failed("1", "poison", ["0"])

    assert nodes["0"].failures == nodes["1"].failures == ()


def test_a_node_benched_for_a_poison_job_is_healthy_again() -> None:
    """Its third failure turns out to be the job's: it did nothing wrong."""
    nodes = registry(HEALTHY, HEALTHY)
    for job in ("a", "b", "poison"):
        nodes.failed("0", job, [])

    changes = nodes.failed("1", "poison", ["0"])

    assert [("0", HEALTHY)] == changed(changes)
    assert not nodes["0"].probation


def test_a_cleared_node_that_fell_silent_stays_unhealthy() -> None:
    """Only a heartbeat says that it is there."""
    nodes = registry(HEALTHY, HEALTHY)
    for job in ("a", "b", "poison"):
        nodes.failed("0", job, [])
    nodes.silent(90.0)

    assert [] == nodes.failed("1", "poison", ["0"])
    assert nodes["0"].state is UNHEALTHY


def test_a_silence_that_is_over_keeps_no_cleared_node_unhealthy() -> None:
    """It was silent once and came back; what benched it later was a poison job."""
    nodes = registry(HEALTHY, HEALTHY)
    nodes.silent(90.0)
    nodes.heard("0", 91.0)
    for job in ("a", "b", "poison"):
        nodes.failed("0", job, [])

    assert [("0", HEALTHY)] == changed(nodes.failed("1", "poison", ["0"]))


def test_of_many_failures_the_latest_are_remembered() -> None:
    """A node that fails for ever takes no memory, and what it failed at last can still turn out to be the job's."""
    nodes = registry(HEALTHY)
    for job in range(1000):
        nodes.failed("0", str(job), [])

    assert len(nodes["0"].failures) <= 30
    assert nodes["0"].failures[-1] == "999"


@given(
    st.lists(
        st.tuples(st.sampled_from(["heard", "failed", "succeeded", "silent"]), st.integers(0, 2), st.floats(0, 200)),
        max_size=60,
    )
)
def test_the_changes_told_add_up_to_the_states(events: list[tuple[str, int, float]]) -> None:
    """Whoever stores what is returned knows every node's state; on probation is exactly who failed too often."""
    nodes, now = registry(REGISTERED, HEALTHY, OFFLINE), 0.0
    told = {"0": REGISTERED, "1": HEALTHY, "2": OFFLINE}
    for number, (event, node, later) in enumerate(events):
        now += later
        match event:
            case "heard":
                changes = nodes.heard(str(node), now)
            case "failed":
                changes = nodes.failed(str(node), f"job{number % 4}", [str((node + 1) % 3)] if number % 2 else [])
            case "succeeded":
                nodes.succeeded(str(node))
                changes = []
            case _:
                changes = nodes.silent(now)
        for change in changes:
            assert change.state is not told[change.node_id]
            told[change.node_id] = change.state

    assert told == {node: nodes[node].state for node in told}
    assert all(nodes[node].probation == (len(nodes[node].failures) >= MAX_FAILURES) for node in told)


def test_only_the_owner_ends_pending_and_revoked() -> None:
    """A heartbeat makes no member of a node, and neither does silence end anything."""
    for state in (NodeState.PENDING, NodeState.REVOKED):
        nodes = registry(state)
        assert [] == nodes.heard("0", 1.0) + nodes.silent(1e9)
        assert nodes["0"].state is state
        nodes.decided("0", REGISTERED)
        assert [("0", HEALTHY)] == changed(nodes.heard("0", 2e9))

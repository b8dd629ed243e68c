"""The health of every node: the operator guide's state table, driven by durations.

Holds no node's identity or link, only how it stands.  Every method returns the changes of state it caused, each with
its cause, for the caller to store and act on.  Pure: ``now`` is seconds on the caller's monotonic clock.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable

import attrs

from edgeagent.gateway.deadlines import Deadlines
from edgeagent.wire.messages import NodeState

#: Consecutive failed attempts that make a node UNHEALTHY (the operator guide's state table).
MAX_FAILURES = 3


class Event(enum.Enum):
    """What can happen to a node's health; the text is the cause that is stored."""

    HEARD = "heartbeat"
    FAILURES = f"{MAX_FAILURES} failed attempts in a row"
    CLEARED = "the failures were the job's"
    QUIET = "no heartbeat"
    GONE = "no heartbeat for long"
    APPROVED = "approved by the owner"
    REVOKED = "revoked by the owner"


TRANSITIONS: dict[tuple[NodeState, Event], NodeState] = {
    (NodeState.REGISTERED, Event.HEARD): NodeState.HEALTHY,
    (NodeState.UNHEALTHY, Event.HEARD): NodeState.HEALTHY,
    (NodeState.OFFLINE, Event.HEARD): NodeState.HEALTHY,
    (NodeState.HEALTHY, Event.FAILURES): NodeState.UNHEALTHY,
    (NodeState.UNHEALTHY, Event.CLEARED): NodeState.HEALTHY,
    (NodeState.HEALTHY, Event.QUIET): NodeState.UNHEALTHY,
    (NodeState.HEALTHY, Event.GONE): NodeState.OFFLINE,
    (NodeState.UNHEALTHY, Event.GONE): NodeState.OFFLINE,
    (NodeState.PENDING, Event.APPROVED): NodeState.REGISTERED,
    (NodeState.REVOKED, Event.APPROVED): NodeState.REGISTERED,
    **{
        (state, Event.REVOKED): NodeState.REVOKED
        for state in (
            NodeState.PENDING,
            NodeState.REGISTERED,
            NodeState.HEALTHY,
            NodeState.UNHEALTHY,
            NodeState.OFFLINE,
        )
    },
}


@attrs.define
class Health:
    """How a node stands.  ``failures`` are the jobs of its failed attempts since the last success."""

    state: NodeState = NodeState.REGISTERED
    failures: tuple[str, ...] = ()
    quiet: bool = False  # no heartbeat lately, whatever made it UNHEALTHY first

    @property
    def probation(self) -> bool:
        """Whether one job at a time is enough: it failed too often, and has not shown since that it works."""
        return len(self.failures) >= MAX_FAILURES


@attrs.frozen
class Changed:
    """A node changed its state."""

    node_id: str
    state: NodeState
    cause: str


class Registry:
    """Every registered node's health.

    Args:
        unhealthy_s: seconds without a heartbeat after which a node is UNHEALTHY.
        offline_s: the same for OFFLINE.
    """

    def __init__(self, *, unhealthy_s: float, offline_s: float) -> None:
        self._unhealthy_s, self._offline_s = unhealthy_s, offline_s
        self._nodes: dict[str, Health] = {}
        self._quiet, self._gone = Deadlines(), Deadlines()

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._nodes

    def __getitem__(self, node_id: str) -> Health:
        return self._nodes[node_id]

    def counts(self) -> Counter[NodeState]:
        """Return how many nodes are in each state."""
        return Counter(health.state for health in self._nodes.values())

    def add(
        self, node_id: str, now: float, state: NodeState = NodeState.REGISTERED, failures: Iterable[str] = ()
    ) -> None:
        """Know a node: a new one, or one read from the store, whose silence then counts from ``now``."""
        self._nodes[node_id] = Health(state, tuple(failures))
        if state in {NodeState.HEALTHY, NodeState.UNHEALTHY}:
            self._listen(node_id, now)

    def decided(self, node_id: str, state: NodeState) -> None:
        """The owner has decided: the node is in this state, which is stored already."""
        self._nodes[node_id].state = state

    def heard(self, node_id: str, now: float) -> list[Changed]:
        """A heartbeat came: whatever it was, the node is HEALTHY (after failures on probation)."""
        self._nodes[node_id].quiet = False
        self._listen(node_id, now)
        return self._step(node_id, Event.HEARD)

    def succeeded(self, node_id: str) -> None:
        """An attempt completed: the failures before it are forgotten, and with them probation."""
        self._nodes[node_id].failures = ()

    def failed(self, node_id: str, job_id: str, elsewhere: Iterable[str]) -> list[Changed]:
        """An attempt failed; ``elsewhere`` are the other nodes where the same job failed before.

        A job that fails on two nodes counts against neither.
        """
        others = [other for other in elsewhere if other != node_id and other in self._nodes]
        if others:
            return [change for other in (node_id, *others) for change in self._clear(other, job_id)]
        node = self._nodes[node_id]
        node.failures = (*node.failures, job_id)[-10 * MAX_FAILURES :]
        return self._step(node_id, Event.FAILURES) if node.probation else []

    def silent(self, now: float) -> list[Changed]:
        """Return the changes that silence has caused by now."""
        changes = []
        for node_id in self._quiet.due(now):
            self._nodes[node_id].quiet = True
            changes += self._step(node_id, Event.QUIET)
        for node_id in self._gone.due(now):
            changes += self._step(node_id, Event.GONE)
        return changes

    def _listen(self, node_id: str, now: float) -> None:
        self._quiet.set(node_id, now + self._unhealthy_s)
        self._gone.set(node_id, now + self._offline_s)

    def _clear(self, node_id: str, job_id: str) -> list[Changed]:
        node = self._nodes[node_id]
        before, node.failures = node.probation, tuple(job for job in node.failures if job != job_id)
        benched = before and not node.probation and not node.quiet
        return self._step(node_id, Event.CLEARED) if benched else []

    def _step(self, node_id: str, event: Event) -> list[Changed]:
        node = self._nodes[node_id]
        state = TRANSITIONS.get((node.state, event))
        if state is None:
            return []
        node.state = state
        return [Changed(node_id, state, event.value)]

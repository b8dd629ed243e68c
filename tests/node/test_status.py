"""Whether a node is well, and the lines that its owner gets to read."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from states import LINK, state

from edgeagent.node.snapshot import SandboxState, SpoolState
from edgeagent.node.status import Health, health, warnings
from edgeagent.node.willingness import Code, Reason

DOWN = attrs.evolve(LINK, up=False, since_s=300.0, lost="Connection refused")


def test_a_node_that_is_well_has_nothing_to_say() -> None:
    """No news is good news."""
    assert (Health.HEALTHY, []) == (health(state()), warnings(state()))


@pytest.mark.parametrize(
    ("changes", "expected", "words"),
    [
        (
            {"link": DOWN},
            Health.UNREACHABLE,
            "not connected to https://gateway.example.com for 5m (Connection refused)",
        ),
        ({"link": DOWN, "spool": SpoolState(undelivered=2)}, Health.UNREACHABLE, "2 results wait on disk"),
        ({"link": attrs.evolve(LINK, state=None)}, Health.UNHEALTHY, "not acknowledged a heartbeat yet"),
        ({"link": attrs.evolve(LINK, state="PENDING")}, Health.UNHEALTHY, "approve"),
        ({"link": attrs.evolve(LINK, state="REGISTERED")}, Health.UNHEALTHY, "first heartbeat"),
        ({"link": attrs.evolve(LINK, state="UNHEALTHY")}, Health.UNHEALTHY, "edgeagent why"),
        ({"link": attrs.evolve(LINK, last_ack_s=60.0)}, Health.HEALTHY, "no heartbeat was acknowledged for 1m"),
        ({"link": attrs.evolve(LINK, probation=True)}, Health.HEALTHY, "on probation"),
        ({"draining": "by its owner", "drain_left_s": 90.0}, Health.HEALTHY, "by its owner; running jobs get 1m30s"),
        ({"against": (Reason(code=Code.DISK, text="the disk is full"),)}, Health.HEALTHY, "taken: the disk is full"),
        ({"job_types": ()}, Health.HEALTHY, "edgeagent plugins list"),
        ({"sandbox": SandboxState(tier="C")}, Health.HEALTHY, "tier C"),
        ({"warnings": ("the cache does not fit",)}, Health.HEALTHY, "the cache does not fit"),
    ],
)
def test_what_is_wrong_is_one_line(changes: dict[str, Any], expected: Health, words: str) -> None:
    """And only the link and the gateway's word make it ill."""
    document = state(**changes)
    found = warnings(document)

    assert expected is health(document)
    assert [words in one for one in found].count(True) == 1, found
    assert not any("\n" in one for one in found)

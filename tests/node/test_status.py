"""Whether a node is well, and the lines that its owner gets to read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
import pytest
from states import LINK, state

from edgeagent.cli.shown import status_lines
from edgeagent.node.snapshot import SandboxState, SpoolState, TypeState
from edgeagent.node.status import Health, health, offers, warnings
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
        (
            {
                "against": (
                    Reason(
                        code=Code.PAUSED, text="paused by its owner", until=datetime(2030, 1, 2, 18, 30).timestamp()
                    ),
                )
            },
            Health.HEALTHY,
            "taken: paused by its owner, until 2030-01-02 18:30; edgeagent resume",
        ),
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


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, True),
        ({"free_slots": 0}, False),
        ({"against": (Reason(code=Code.DISK, text="the disk is full"),)}, False),
    ],
)
def test_no_work_from_the_gateway_is_a_warning_where_the_node_could_take_some(
    changes: dict[str, Any], warned: bool
) -> None:
    """A node that works on all it can is well, and one that takes nothing says so itself."""
    document = state(**changes)
    document["link"]["no_work"] = "its owner drains it"

    assert warned == any("gives this node no work: its owner drains it" in one for one in warnings(document))


def test_what_keeps_jobs_away_is_not_warned_of_twice() -> None:
    """The disk says so to its owner at once, and is a reason to take no jobs."""
    full = Reason(code=Code.DISK, text="the disk is full")

    (warning,) = warnings(state(against=(full,), warnings=("the disk is full",)))

    assert "no new jobs are taken: the disk is full" == warning


def test_a_type_that_is_kept_away_says_why_and_until_when() -> None:
    """A window that closes render alone leaves echo as it is; where one reason has no end, none is said."""
    window = Reason(code=Code.WINDOW, text="no window", until=datetime(2030, 1, 2, 18, 30).timestamp())
    later = Reason(code=Code.PAUSED, text="paused", until=datetime(2030, 1, 3, 8, 0).timestamp())
    disk = Reason(code=Code.DISK, text="full")

    def said(*against: Reason) -> str:
        return offers(state(job_types=(TypeState(job_type="echo"), TypeState(job_type="render", against=against))))

    assert "echo, render" == said()
    assert "echo, render (not now: window until 2030-01-02 18:30)" == said(window)
    assert "echo, render (not now: paused, window until 2030-01-03 08:00)" == said(later, window)
    assert "echo, render (not now: disk, window)" == said(disk, window)
    assert "nothing" == offers(state(job_types=()))


def test_what_the_gateway_said_last_is_not_shown_as_what_it_says() -> None:
    """While the link is down, nobody knows how it sees the node."""

    def shown(up: bool) -> str:
        document = state()
        document["link"].update(up=up, state="HEALTHY")
        return next(line for line in status_lines(document, None, []) if line.startswith("State"))

    assert ["State     HEALTHY", "State     HEALTHY when the gateway was last heard"] == [shown(True), shown(False)]

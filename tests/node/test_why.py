"""Why a node has no work: the deciding reason, from what the node and the gateway say."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from states import LINK, STANDING, state

from edgeagent.node.snapshot import RunningAttempt, TypeState
from edgeagent.node.why import Code, explain
from edgeagent.node.willingness import Code as Against
from edgeagent.node.willingness import Reason

PAUSED = Reason(code=Against.PAUSED, text="the node is paused by its owner", until=2e9)
WINDOW = Reason(code=Against.WINDOW, text="the schedule has no window for 'echo' now", until=2e9)
FAILED = {"job_id": "j", "job_type": "render", "outcome": "failed", "detail": "out of paint", "ago_s": 5.0}
SEAT: dict[str, Any] = STANDING["seat"]
IDLE = {"code": "outbid", "text": "of 5 such jobs, 4 went to other nodes", "job_type": ""}
RUNNING = RunningAttempt(attempt_id="a", job_id="j", job_type="echo", running_s=1.0)


@pytest.mark.parametrize(
    ("changes", "said", "code", "side", "words"),
    [
        ({"link": attrs.evolve(LINK, up=False, lost="Connection refused")}, {}, Code.NOT_LINKED, "node", "refused"),
        ({}, {"status": "PENDING"}, Code.PENDING, "gateway", "approval"),
        ({}, {"status": "REGISTERED"}, Code.REGISTERED, "gateway", "first heartbeat"),
        ({}, {"status": "OFFLINE"}, Code.OFFLINE, "gateway", "for long"),
        ({}, {"status": "REVOKED"}, Code.REVOKED, "gateway", "revoked"),
        (
            {},
            {"status": "UNHEALTHY", "cause": "3 failed attempts in a row", "failures": [FAILED]},
            Code.UNHEALTHY,
            "gateway",
            "1m ago: 3 failed attempts in a row; job j (render) failed: out of paint",
        ),
        ({}, {"drained": True}, Code.DRAINED, "gateway", "no more work"),
        ({"job_types": ()}, {}, Code.NOTHING_OFFERED, "node", "no job type"),
        ({"against": (PAUSED,)}, {}, Code.NOT_NOW, "node", "paused by its owner"),
        ({"job_types": (TypeState(job_type="echo", against=(WINDOW,)),)}, {}, Code.NOT_NOW, "node", "window"),
        ({"free_slots": 0, "running": (RUNNING,) * 2}, {}, Code.FULL, "node", "all its 2 slots"),
        ({"running": (RUNNING,), "free_slots": 1}, {}, Code.WORKING, "node", "1 job, and could take 1 more"),
        ({}, {"probation": True, "seat": {**SEAT, "limit": 1, "taken": 1}}, Code.PROBATION, "gateway", "one at a time"),
        ({}, {"seat": {**SEAT, "taken": 2}}, Code.FULL, "gateway", "2 of 2 slots"),
        ({}, {"idle": [IDLE]}, Code.OUTBID, "gateway", "4 went to other nodes"),
        ({}, {"idle": [{**IDLE, "code": "of a later version"}]}, Code.UNKNOWN, "gateway", "4 went to other nodes"),
        ({}, {"idle": []}, Code.UNKNOWN, "gateway", "does not say"),
        ({}, {}, Code.NO_DEMAND, "gateway", "no job waits"),
    ],
)
def test_the_first_reason_decides(
    changes: dict[str, Any], said: dict[str, Any], code: Code, side: str, words: str
) -> None:
    """Each cause that can keep work away is named by the side that has it."""
    first = explain(state(**changes), {**STANDING, **said})[0]

    assert (code, side) == (first.code, first.side)
    assert words in first.text


def test_a_gateway_that_cannot_be_asked_is_said() -> None:
    """Where nothing on this side speaks against work."""
    assert [Code.UNKNOWN] == [one.code for one in explain(state(), None)]
    assert [Code.NOT_NOW] == [one.code for one in explain(state(against=(PAUSED,)), None)]


def test_what_comes_after_the_first_reason_is_told_too() -> None:
    """A lost link hides neither the pause nor the full slots behind it."""
    found = explain(state(link=attrs.evolve(LINK, up=False), against=(PAUSED,), free_slots=0), None)

    assert [Code.NOT_LINKED, Code.NOT_NOW, Code.FULL] == [one.code for one in found]
    assert (("paused", 2e9, "edgeagent resume")) == (found[1].detail, found[1].until, found[1].remedy)


def test_a_closed_window_is_told_behind_a_pause() -> None:
    """Each reason once: what speaks against every job speaks against each type, too."""
    closed = TypeState(job_type="echo", against=(PAUSED, WINDOW))
    paused = TypeState(job_type="render", against=(PAUSED,))

    both = explain(state(against=(PAUSED,), job_types=(closed,)), None)
    one_open = explain(state(against=(PAUSED,), job_types=(closed, paused)), None)

    assert [["paused", "window"], ["paused"]] == [[one.detail for one in found] for found in (both, one_open)]


def test_one_open_job_type_is_enough() -> None:
    """A window that is closed for echo alone does not explain why no render comes."""
    types = (TypeState(job_type="echo", against=(WINDOW,)), TypeState(job_type="render"))

    assert Code.NO_DEMAND is explain(state(job_types=types), STANDING)[0].code


def test_a_type_that_is_waited_for_and_not_taken_has_both_sides() -> None:
    """The gateway says that jobs of it wait, the node what keeps it away and until when."""
    types = (TypeState(job_type="echo", against=(WINDOW,)), TypeState(job_type="render"))
    idle = [{"code": "closed", "text": "echo is waited for", "job_type": "echo"}]

    closed, window = explain(state(job_types=types), {**STANDING, "idle": idle})

    assert (Code.CLOSED, "gateway", "echo") == (closed.code, closed.side, closed.detail)
    assert (Code.NOT_NOW, "node", "window", WINDOW.until) == (window.code, window.side, window.detail, window.until)

"""Whether a node is well, and what its owner should know of it, from the document that it gives of itself.

Pure; ``edgeagent status`` shows it.  Each warning is one line that says what is the matter, since when, and what to do,
in the manner of tailscale's health lines.  Times come as durations, so that no two clocks are compared.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from edgeagent.node.why import REMEDIES
from edgeagent.wire.units import format_duration

Json = dict[str, Any]
#: Seconds without an acknowledged heartbeat that are worth a line: three of the usual intervals.
QUIET_S = 45.0


class Health(enum.StrEnum):
    """How a node is."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNREACHABLE = "unreachable"


_STATES = {
    None: "the gateway has not acknowledged a heartbeat yet; it gives no work before that",
    "PENDING": "the gateway's owner has to approve this node before it gets work; ask them",
    "REGISTERED": "the gateway waits for this node's first heartbeat; it follows soon, or see: edgeagent logs",
    "UNHEALTHY": "the gateway has found this node UNHEALTHY and gives it no work; see: edgeagent why",
    "OFFLINE": "the gateway takes this node for OFFLINE; the next heartbeat changes that, or see: edgeagent logs",
    "REVOKED": "the gateway's owner has revoked this node; ask them",
}


def health(state: Json) -> Health:
    """Return how the node is that gave ``state`` (``node.snapshot``)."""
    if not state["link"]["up"]:
        return Health.UNREACHABLE
    return Health.HEALTHY if state["link"]["state"] == "HEALTHY" else Health.UNHEALTHY


def warnings(state: Json) -> list[str]:
    """Return what the owner should know, the most pressing first; nothing where all is well."""
    said = {reason["text"] for reason in state["against"]}  # a full disk is both: why there are no jobs, and a warning
    return [*_of_link(state), *_of_work(state), *(one for one in state["warnings"] if one not in said)]


def offers(state: Json) -> str:
    """Return the job types that are offered, each with what keeps it away now and until when, for a person."""
    return ", ".join(one["job_type"] + _kept_away(one["against"]) for one in state["job_types"]) or "nothing"


def _kept_away(against: list[Json]) -> str:
    if not against:
        return ""
    ends = [one["until"] for one in against]
    end = "" if None in ends else f" until {_moment(max(ends))}"
    return f" (not now: {', '.join(one['code'] for one in against)}{end})"


def _said(reason: Json) -> str:
    remedy = REMEDIES.get(reason["code"])
    return f"{reason['text']}{until(reason['until'])}{'' if remedy is None else f'; {remedy}'}"


def until(end: float | None) -> str:
    """Return when something ends, in this machine's time, to follow what that is; nothing where nobody knows."""
    return "" if end is None else f", until {_moment(end)}"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def _of_link(state: Json) -> Iterator[str]:
    link, waiting = state["link"], state["spool"]["undelivered"]
    if not link["up"]:
        why = f" ({link['lost']})" if link["lost"] else ""
        yield (
            f"not connected to {state['gateway']} for {format_duration(link['since_s'])}{why}; jobs go on, and the "
            "node tries again by itself; to find out more: edgeagent doctor"
        )
        if waiting:
            yield f"{waiting} results wait on disk for the gateway; none is lost"
        return
    if link["state"] != "HEALTHY":
        yield _STATES.get(link["state"], f"the gateway says {link['state']}; see: edgeagent why")
    if link["last_ack_s"] is not None and link["last_ack_s"] > QUIET_S:
        yield f"no heartbeat was acknowledged for {format_duration(link['last_ack_s'])}; the link may be dead"
    if link["probation"]:
        yield "on probation after failed jobs: one job at a time until one completes; see: edgeagent jobs --failed"
    elif link["no_work"] and link["state"] == "HEALTHY" and state["free_slots"] and not state["against"]:
        yield f"the gateway gives this node no work: {link['no_work']}; see: edgeagent why"


def _of_work(state: Json) -> Iterator[str]:
    if state["draining"] is not None:
        left = state["drain_left_s"]
        yield f"stopping: {state['draining']}" + ("" if left is None else f"; running jobs get {format_duration(left)}")
    for reason in state["against"]:
        if reason["code"] != "stopping":
            yield f"no new jobs are taken: {_said(reason)}"
    if not state["job_types"]:
        yield "no job type can be run here, so there is nothing to do; see: edgeagent plugins list"
    if state["sandbox"]["tier"] == "C":
        yield "jobs are confined less than they could be (tier C); see: edgeagent doctor"

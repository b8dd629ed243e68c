"""Why a node has no work now: one decision over what the node says of itself and what its gateway says of it.

Pure: two documents in, reasons out, the deciding one first.  ``state`` is ``node.snapshot``'s, ``standing`` is that of
``GET /nodes/me/standing``, None where the gateway could not be asked.  A reason further down the list only matters
once those before it are gone.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import attrs

from edgeagent.wire.units import format_duration

Json = dict[str, Any]

#: What to type against a reason of the node's own, by its code, where there is something.
REMEDIES = {
    "paused": "edgeagent resume",
    "window": "edgeagent config show schedule.windows",
    "gpu": "edgeagent gpu resume",
}


class Code(enum.StrEnum):
    """Why there is no work; stable, for scripts."""

    WORKING = "working"
    NOT_LINKED = "not_linked"
    PENDING = "pending"
    REVOKED = "revoked"
    REGISTERED = "registered"
    UNHEALTHY = "unhealthy"
    OFFLINE = "offline"
    DRAINED = "drained"
    NOTHING_OFFERED = "nothing_offered"
    NOT_NOW = "not_now"
    FULL = "full"
    PROBATION = "probation"
    CLOSED = "closed"
    UNSUITED = "unsuited"
    OUTBID = "outbid"
    NO_DEMAND = "no_demand"
    ABOUT_TO = "about_to"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class Reason:
    """One reason.

    Attributes:
        side: who has it: ``node`` or ``gateway``.
        detail: the code of a reason of the node's own (paused, window, battery ...), or a job type; else empty.
        remedy: what to do about it; empty where nothing need be done.
        until: seconds since the epoch; None where nobody can tell.
    """

    code: Code
    side: str
    text: str
    remedy: str = ""
    detail: str = ""
    until: float | None = None


#: What the gateway says of its queue, by its code; the words are its own.
_DEMAND = {code.value: code for code in (Code.ABOUT_TO, Code.CLOSED, Code.OUTBID, Code.UNSUITED, Code.NO_DEMAND)}
_REMEDIES = {Code.OUTBID: "more job types or less load bring more jobs"}


def explain(state: Json, standing: Json | None) -> tuple[Reason, ...]:
    """Return why the node has no (more) work; the first reason is the one that decides."""
    found = [*_link(state), *_membership(standing), *_node(state), *_room(state, standing)]
    if not found:
        found = [*_demand(state, standing)]
    if state["running"] and not any(one.code is Code.FULL for one in found):
        count = len(state["running"])
        working = f"it works on {count} {'job' if count == 1 else 'jobs'}, and could take {state['free_slots']} more"
        found.insert(0, Reason(code=Code.WORKING, side="node", text=working))
    return tuple(found)


def _link(state: Json) -> Iterator[Reason]:
    link = state["link"]
    if not link["up"]:
        lost = f": {link['lost']}" if link["lost"] else ""
        text = f"it has had no link to {state['gateway']} for {format_duration(link['since_s'])}{lost}"
        yield Reason(code=Code.NOT_LINKED, side="node", text=text, remedy="edgeagent doctor")


_MEMBERSHIP = {
    "PENDING": (Code.PENDING, "it waits for the approval of the gateway's owner", "ask the gateway's owner"),
    "REVOKED": (Code.REVOKED, "the gateway's owner has revoked it", "ask the gateway's owner"),
    "REGISTERED": (Code.REGISTERED, "the gateway has not heard its first heartbeat", "edgeagent logs"),
    "OFFLINE": (Code.OFFLINE, "the gateway has not heard of it for long", "edgeagent doctor"),
}


def _membership(standing: Json | None) -> Iterator[Reason]:
    if standing is None:
        return
    status = standing["status"]
    if status in _MEMBERSHIP:
        code, text, remedy = _MEMBERSHIP[status]
        yield Reason(code=code, side="gateway", text=text, remedy=remedy)
    elif status == "UNHEALTHY":
        yield Reason(code=Code.UNHEALTHY, side="gateway", text=_unhealthy(standing), remedy="edgeagent jobs --failed")
    if standing["drained"]:
        text = "the gateway's owner wants no more work done here"
        yield Reason(code=Code.DRAINED, side="gateway", text=text, remedy="ask the gateway's owner")


def _unhealthy(standing: Json) -> str:
    said = f"the gateway found it UNHEALTHY {format_duration(standing['since_s'])} ago: {standing['cause']}"
    failures = [
        f"job {one['job_id']} ({one['job_type']}) {one['outcome']}{': ' if one['detail'] else ''}{one['detail']}"
        for one in standing["failures"][:3]
    ]
    return said + "".join(f"; {one}" for one in failures)


def _node(state: Json) -> Iterator[Reason]:
    if not state["job_types"]:
        text = "no job type can be run here"
        yield Reason(code=Code.NOTHING_OFFERED, side="node", text=text, remedy="edgeagent plugins list")
        return
    general = {one["code"] for one in state["against"]}
    yield from (_not_now(one) for one in state["against"])
    own = [[one for one in job_type["against"] if one["code"] not in general] for job_type in state["job_types"]]
    if all(own):  # no type is left
        yield from (_not_now(one) for reasons in own for one in reasons)


def _not_now(reason: Json) -> Reason:
    return Reason(
        code=Code.NOT_NOW,
        side="node",
        text=reason["text"],
        detail=reason["code"],
        until=reason["until"],
        remedy=REMEDIES.get(reason["code"], ""),
    )


def _room(state: Json, standing: Json | None) -> Iterator[Reason]:
    seat = None if standing is None else standing["seat"]
    if not state["free_slots"] and state["slots"]:
        text = f"all its {state['slots']} slots are taken"
        yield Reason(code=Code.FULL, side="node", text=text, remedy="edgeagent config set share.slots N, for more")
    elif seat is not None and standing is not None and standing["status"] == "HEALTHY" and seat["limit"]:
        if seat["taken"] >= seat["limit"] and standing["probation"]:
            text = "it is on probation after failed jobs: one at a time until one completes"
            yield Reason(code=Code.PROBATION, side="gateway", text=text, remedy="edgeagent jobs --failed")
        elif seat["taken"] >= seat["limit"]:
            text = f"the gateway counts {seat['taken']} of {seat['slots']} slots as taken"
            yield Reason(code=Code.FULL, side="gateway", text=text)


def _demand(state: Json, standing: Json | None) -> Iterator[Reason]:
    """Repeat what the gateway says of its queue; of a type that is not taken now, this side knows why and how long."""
    if standing is None:
        text = "nothing here speaks against work, and the gateway could not be asked what it has"
        yield Reason(code=Code.UNKNOWN, side="node", text=text, remedy="edgeagent doctor")
        return
    against = {one["job_type"]: one["against"] for one in state["job_types"]}
    for one in standing["idle"]:
        code = _DEMAND.get(one["code"], Code.UNKNOWN)
        yield Reason(
            code=code, side="gateway", text=one["text"], detail=one["job_type"], remedy=_REMEDIES.get(code, "")
        )
        if code is Code.CLOSED:
            yield from (_not_now(reason) for reason in against.get(one["job_type"], ()))
    if not standing["idle"]:
        text = "the gateway does not say; the link has just come up, or it is of another version"
        yield Reason(code=Code.UNKNOWN, side="gateway", text=text)

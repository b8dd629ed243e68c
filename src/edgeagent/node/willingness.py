"""May a job of this type be taken now, and if not, why and until when: one decision from all that can speak against it.

Pure.  The intake asks before it takes a job, the heartbeat tells the gateway, and the node's state shows the reasons to
its owner.  Whether there is room (slots, memory, GPUs) is another question: ``node.slots``.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from datetime import datetime

import attrs

from edgeagent.node.schedule import ALWAYS, Clock, Plan


class Code(enum.StrEnum):
    """What can speak against a job; stable, for scripts."""

    STOPPING = "stopping"
    PAUSED = "paused"
    WINDOW = "window"
    BATTERY = "battery"
    USER = "user"
    LOAD = "load"
    DISK = "disk"
    GPU = "gpu"


@attrs.frozen(kw_only=True)
class Reason:
    """One reason against, in words for a person; ``until`` is seconds since the epoch, None where nobody can tell."""

    code: Code
    text: str
    until: float | None = None


@attrs.frozen(kw_only=True)
class Pause:
    """The owner wants no new jobs: since when, until when, in seconds since the epoch; None: until told otherwise."""

    since: float
    until: float | None = None

    def holds(self, now: float) -> bool:
        """Say whether it is in force."""
        return self.until is None or now < self.until


@attrs.frozen(kw_only=True)
class Circumstances:
    """Everything that the decision rests on.

    Attributes:
        stopping: why the node is about to end, or None.
        pause: what the owner has ordered.
        conditions: what the node has noticed by itself, each in force as long as it stands here.
        short: job types that cannot be run for now, for want of what the owner has paused, and why.
        plan: the owner's windows.
        wall: the clock that they go by.
    """

    stopping: str | None = None
    pause: Pause | None = None
    conditions: Mapping[Code, Reason] = attrs.Factory(dict)
    short: Mapping[str, Reason] = attrs.Factory(dict)
    plan: Plan = ALWAYS
    wall: Clock = datetime.fromtimestamp


def general(around: Circumstances, now: float) -> tuple[Reason, ...]:
    """Return what speaks against every job at ``now``, in seconds since the epoch."""
    found: list[Reason] = []
    if around.stopping is not None:
        found.append(Reason(code=Code.STOPPING, text=around.stopping))
    if around.pause is not None and around.pause.holds(now):
        found.append(Reason(code=Code.PAUSED, text="the node is paused by its owner", until=around.pause.until))
    return (*found, *around.conditions.values())


def against(job_type: str, around: Circumstances, now: float) -> tuple[Reason, ...]:
    """Return all that speaks against a job of this type at ``now``; nothing: it may be taken."""
    found = list(general(around, now))
    opening = around.plan.opening(job_type, around.wall, now)
    if not opening.is_open:
        text = f"the schedule has no window for {job_type!r} now"
        found.append(Reason(code=Code.WINDOW, text=text, until=opening.changes_at))
    if job_type in around.short:
        found.append(around.short[job_type])
    return tuple(found)


def closed(job_types: Collection[str], around: Circumstances, now: float) -> tuple[str, ...]:
    """Return which of these are not taken at ``now``; cheaper than ``against``, for it does not look ahead."""
    if general(around, now):
        return tuple(job_types)
    return tuple(one for one in job_types if one in around.short or not around.plan.is_open(one, around.wall, now))

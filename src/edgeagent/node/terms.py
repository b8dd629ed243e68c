"""What the owner's options come to for the parts of the node.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from edgeagent.node import schedule
from edgeagent.node.ceilings import Ceiling, Ceilings
from edgeagent.node.options.settings import Settings
from edgeagent.node.pauses import Wishes
from edgeagent.node.schedule import Plan, Window
from edgeagent.node.willingness import Circumstances


def ceilings(settings: Settings) -> Ceilings:
    """Return what jobs may use."""
    limits = attrs.asdict(settings.limits, recurse=False)
    by_type = limits.pop("by_type")
    return Ceilings(general=Ceiling(**limits), by_type=by_type, memory_bytes=settings.share.memory_bytes)


def circumstances(settings: Settings) -> Circumstances:
    """Return what the owner has said about when jobs are taken."""
    wanted = settings.schedule
    plan = Plan(
        general=None if wanted.windows is None else _windows(wanted.windows),
        by_type={job_type: _windows(lines) for job_type, lines in wanted.by_type.items()},
    )
    return Circumstances(plan=plan, wall=schedule.clock(wanted.timezone))


def wishes(settings: Settings) -> Wishes:
    """Return during what the owner wants no jobs."""
    wanted = settings.pause
    load = None if wanted.load_percent is None else wanted.load_percent / 100
    return Wishes(battery=wanted.battery, activity_s=wanted.activity_s, load=load)


def _windows(lines: Iterable[str]) -> tuple[Window, ...]:
    return tuple(window for line in lines for window in schedule.parse(line))

"""The most that a node's owner lets one job use, whatever the job asks for.  Pure.

A job that asks for more gets what the ceiling allows: one that needs less than it asked for still runs.  GPUs have no
ceiling here, for a job gets the number that it asked for or goes back to the queue (``node.slots``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from edgeagent.wire.messages import Limits
from edgeagent.wire.units import format_size


@attrs.frozen(kw_only=True)
class Ceiling:
    """What stands here is the most; None allows whatever the job asks for.  Fields as in ``messages.Limits``."""

    wall_s: float | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    scratch_bytes: int | None = None
    tmp_bytes: int | None = None
    output_bytes: int | None = None

    def over(self, other: Ceiling) -> Ceiling:
        """Return this, and ``other`` for whatever this says nothing of."""
        return attrs.evolve(other, **self.set())

    def set(self) -> dict[str, Any]:
        """Return the ceilings that there are."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}

    def cap(self, asked: Limits) -> Limits:
        """Return what a job that asks for this may use."""
        return attrs.evolve(asked, **{name: min(getattr(asked, name), most) for name, most in self.set().items()})


NO_CEILING = Ceiling()
#: What a job may use that has asked for nothing in particular.
USUAL = Limits()


def share_out(asked: Limits, memory_bytes: int | None, slots: int) -> Limits:
    """Return what a job may use of the memory that all jobs together have; None: the owner has said nothing of it.

    A job that asks for no more than usual gets a slot's share, as the gateway counts it; one that asks for more gets
    that, up to everything.  So what the jobs of all slots may use never comes to more than there is to share.
    """
    if memory_bytes is None:
        return asked
    most = memory_bytes // slots if asked.memory_bytes <= USUAL.memory_bytes else memory_bytes
    return attrs.evolve(asked, memory_bytes=min(asked.memory_bytes, most))


@attrs.frozen(kw_only=True)
class Ceilings:
    """What the owner allows: one ceiling for all jobs, others for some types, which say only what differs.

    Attributes:
        general: for all jobs.
        by_type: what differs, by job type.
        memory_bytes: for all running jobs together; None: not limited.
    """

    general: Ceiling = NO_CEILING
    by_type: Mapping[str, Ceiling] = attrs.Factory(dict)
    memory_bytes: int | None = None

    def cap(self, job_type: str, asked: Limits, slots: int) -> Limits:
        """Return what a job of this type that asks for this may use on a node with so many slots."""
        capped = self.by_type.get(job_type, NO_CEILING).over(self.general).cap(asked)
        return share_out(capped, self.memory_bytes, slots)

    def room(self, wanted: Limits, held: Iterable[Limits]) -> str | None:
        """Return why there is no memory for a job with these limits beside the running ones; None: there is."""
        if self.memory_bytes is None:
            return None
        free = self.memory_bytes - sum(limits.memory_bytes for limits in held)
        if wanted.memory_bytes <= free:
            return None
        return f"the job may use {format_size(wanted.memory_bytes)} of memory, and {format_size(max(0, free))} is free"

"""The most that a node's owner lets one job use, whatever the job asks for.  Pure.

A job that asks for more gets what the ceiling allows: one that needs less than it asked for still runs.  GPUs have no
ceiling here, for a job gets the number that it asked for or goes back to the queue (``node.slots``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgeagent.wire.messages import Limits


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


@attrs.frozen
class Ceilings:
    """One for all jobs, and others for some job types, which say only what differs."""

    general: Ceiling = NO_CEILING
    by_type: Mapping[str, Ceiling] = attrs.Factory(dict)

    def cap(self, job_type: str, asked: Limits) -> Limits:
        """Return what a job of this type that asks for this may use."""
        return self.by_type.get(job_type, NO_CEILING).over(self.general).cap(asked)

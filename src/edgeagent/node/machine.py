"""What this machine has for jobs: memory, which the gateway is told of in Hello, and processors."""

from __future__ import annotations

import math
import os
from pathlib import Path

from edgeagent.errors import UsageError

#: Where a container's own memory limit is, by version of control groups; what stands there is bytes, or ``max``.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_bytes(limits: tuple[Path, ...] = _LIMITS) -> int:
    """Return how much memory all jobs together can have: the machine's, or less where a container has less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in limits:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            found = min(found, int(text))
    return found


def cores(wanted: float | None) -> int:
    """Return how many processors jobs may have at work at the same time, parts of one counted whole.

    Args:
        wanted: what the owner lends (``share.cores``); None: all that this process may use.

    Raises:
        UsageError: that is more than there are.
    """
    # Nodes run on Linux alone, but their options can be checked elsewhere.
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if wanted is None:
        return there
    if wanted > there:
        raise UsageError(
            f"share.cores is {wanted:g}, and there are {there} processors here; "
            f"edgeagent config set share.cores {there}, or: edgeagent config unset share.cores"
        )
    return math.ceil(wanted)

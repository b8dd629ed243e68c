"""What this machine has for jobs, as far as the gateway is told of it in Hello."""

from __future__ import annotations

import os
from pathlib import Path

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

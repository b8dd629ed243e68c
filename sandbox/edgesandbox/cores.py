"""How many processors all jobs use together, where the caller says so.

A control group above those of the jobs keeps them to that: so much processor time in each period, on whichever
processors.  Where there is none to give, the zygote is put on some of the processors, whole ones, and with it all that
it forks; the system call filter then has whoever asks for others believe that it got them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path

from edgesandbox.cgroupfs import write

#: The two ways, as reports spell them.
QUOTA, AFFINITY = "cores_quota", "cores_affinity"
#: Microseconds: the kernel's own default, and the least quota that it takes (Documentation/scheduler/sched-bwc.rst).
PERIOD_US, _LEAST_US = 100_000, 1_000


def quota_us(cores: float) -> int:
    """Return how many microseconds of processor time there are in each period."""
    return max(_LEAST_US, round(cores * PERIOD_US))


def limit_v1(group: Path, cores: float) -> None:
    """Limit a group of version 1 and all below it.

    Raises:
        OSError: the kernel refuses, since the group above has less, for example.
    """
    write(group / "cpu.cfs_period_us", str(PERIOD_US))
    write(group / "cpu.cfs_quota_us", str(quota_us(cores)))


def limit_v2(group: Path, cores: float) -> None:
    """Limit a group of version 2 and all below it; its parent must offer the controller.

    Raises:
        OSError: the kernel refuses.
    """
    write(group / "cpu.max", f"{quota_us(cores)} {PERIOD_US}")


def choose(allowed: Collection[int], cores: float) -> set[int]:
    """Return the processors that jobs are put on, by number: the last, since interrupts often go to the first."""
    return set(sorted(allowed)[-math.ceil(cores) :])


def keep_to(cores: float) -> None:
    """Put this process, and all that it will fork, on some of the processors that it may use."""
    os.sched_setaffinity(0, choose(os.sched_getaffinity(0), cores))

"""What a job's process takes from itself, in this order, right before the stranger's code runs.

Everything here is inherited by all that the job starts and cannot be undone by it.
"""

from __future__ import annotations

import math
import os
import resource

from edgesandbox import landlock, linux
from edgesandbox.report import CPU_GRACE_S
from edgesandbox.spec import Limits


def set_rlimits(limits: Limits) -> None:
    """Set the kernel's limits on each process, hard ones too.

    Raises:
        OSError: a limit is above what this process may have; the text names it.
    """
    cpu_s = math.ceil(limits.cpu_s)
    wanted = {
        "CPU": (cpu_s, cpu_s + CPU_GRACE_S),
        "DATA": (limits.memory_bytes, limits.memory_bytes),
        "FSIZE": (limits.fsize_bytes, limits.fsize_bytes),
        "MEMLOCK": (0, 0),
        "MSGQUEUE": (0, 0),
        "NOFILE": (limits.nofile, limits.nofile),
        "NPROC": (limits.pids + 1, limits.pids + 1),  # the supervisor is one of them
    }
    if limits.address_space_bytes is not None:
        wanted["AS"] = (limits.address_space_bytes, limits.address_space_bytes)
    for name, pair in wanted.items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), pair)
        except (OSError, ValueError) as problem:
            raise OSError(f"RLIMIT_{name} of {pair[0]}: {problem}") from None


def refuse_core_dumps() -> None:
    """Have the kernel neither write a core dump nor start the host's program for them, for all who inherit this.

    A limit of 0 keeps it from writing a file, but not from starting what a ``kernel.core_pattern`` with a pipe names,
    as root of the host and with the job's memory to read.  A limit of 1 stops both (fs/coredump.c); the filter sees to
    it that nobody lowers it.  Where the hard limit is 0 already and not ours to raise, it stays at that.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except ValueError:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def give_up_privileges(landlock_version: int) -> None:
    """Drop every capability, and wall the files off a second time where Landlock is there (a version above 0).

    The supervisor has emptied the bounding set, set ``no_new_privs`` and installed the filter: they are inherited.
    """
    linux.keep_capabilities()
    if landlock_version:
        landlock.restrict(landlock_version)


def be_first_to_die() -> None:
    """Have the kernel prefer this process and its children when the machine is out of memory."""
    linux.write_file("/proc/self/oom_score_adj", "1000")


def use_descriptors(output: int, keep: list[int]) -> None:
    """Arrange stdin (/dev/null), stdout and stderr (``output``), and close all but these and those in ``keep``."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    linux.close_all_except([0, 1, 2, *keep])

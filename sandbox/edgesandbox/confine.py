"""What a job's processes take from themselves, right before the stranger's code runs.

Everything here is inherited by all that the job starts and cannot be undone by it.  All but the descriptors is laid out
before the fork, as ``calls``.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import resource
from collections.abc import Iterable

from edgesandbox import linux
from edgesandbox.calls import Calls
from edgesandbox.report import CPU_GRACE_S
from edgesandbox.spec import Limits

_PR_SET_DUMPABLE, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 23, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
_SIG_SETMASK = 2


def prepare(limits: Limits) -> Calls:
    """Lay out what the job's process does, but for its descriptors and Landlock, which follow.

    The supervisor has emptied the bounding set, set ``no_new_privs`` and installed the filter: they are inherited.
    """
    calls = Calls()
    calls.add("rt_sigprocmask", _SIG_SETMASK, (ctypes.c_uint64 * 1)(0), None, 8)
    add_dumpable(calls, dumpable=True)  # its files in /proc are its own; the supervisor's are not
    calls.add("setsid")
    calls.add("chdir", b"/scratch")
    add_rlimits(calls, limits)
    add_capabilities(calls)
    return calls


def keep_to_supervise(*, on_disk: bool) -> Calls:
    """Lay out what the supervisor still gives up once the job has been forked; on disk it has to see every file."""
    calls = Calls()
    add_capabilities(calls, [linux.CAP_KILL, linux.CAP_SYS_PTRACE, *([linux.CAP_DAC_READ_SEARCH] if on_disk else [])])
    return calls


def add_rlimits(calls: Calls, limits: Limits, others: int = 1) -> None:
    """Set the kernel's limits on each process, hard ones too; one above what this process may have is named.

    ``others`` are the processes that count as the job's and are not: its supervisor, in a user namespace of their own.
    """
    cpu_s = math.ceil(limits.cpu_s)
    wanted = {
        "CPU": (cpu_s, cpu_s + CPU_GRACE_S),
        "DATA": (limits.memory_bytes, limits.memory_bytes),
        "FSIZE": (limits.fsize_bytes, limits.fsize_bytes),
        "MEMLOCK": (0, 0),
        "MSGQUEUE": (0, 0),
        "NOFILE": (limits.nofile, limits.nofile),
        "NPROC": (limits.pids + others, limits.pids + others),
    }
    if limits.address_space_bytes is not None:
        wanted["AS"] = (limits.address_space_bytes, limits.address_space_bytes)
    for name, pair in wanted.items():
        number = getattr(resource, f"RLIMIT_{name}")
        calls.add("prlimit64", 0, number, (ctypes.c_uint64 * 2)(*pair), None, what=f"RLIMIT_{name} of {pair[0]}")


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


def add_dumpable(calls: Calls, *, dumpable: bool) -> None:
    """Say whether processes of the same user may look into this one, and who owns its files in /proc."""
    calls.add("prctl", _PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)


def add_no_new_privileges(calls: Calls) -> None:
    """Take setuid bits and file capabilities out of force, for ever."""
    calls.add("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def add_bounding_drops(calls: Calls) -> None:
    """Empty the bounding set, so that no later exec can gain a capability."""
    for capability in range(_capabilities()):
        calls.add("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0, what="PR_CAPBSET_DROP")


@functools.cache
def _capabilities() -> int:
    """Return how many capabilities this kernel knows."""
    count = 0
    try:
        while count < 64:
            linux.prctl(_PR_CAPBSET_READ, count)
            count += 1
    except OSError:  # EINVAL: past the last one
        pass
    return count


def add_capabilities(calls: Calls, kept: Iterable[int] = ()) -> None:
    """Drop every capability but these from the permitted and effective sets, and all from the inheritable."""
    bits = sum(1 << each for each in kept)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    calls.add("capset", header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0))


def drop_capabilities() -> None:
    """Give up every capability of the calling thread, those that it was lent (the ambient ones) among them.

    Raises:
        OSError: the kernel does not let it.
    """
    calls = Calls()
    add_capabilities(calls)
    calls.make()


def be_first_to_die() -> None:
    """Have the kernel prefer this process and its children when the machine is out of memory."""
    linux.write_file("/proc/self/oom_score_adj", "1000")


def use_descriptors(output: int, keep: Iterable[int]) -> None:
    """Arrange stdin (/dev/null), stdout and stderr (``output``), and close all but these and those in ``keep``."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    linux.close_all_except([0, 1, 2, *keep])

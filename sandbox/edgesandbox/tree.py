"""What all processes of a job use together, read from /proc by the supervisor.

For hosts without writable cgroups.  Memory is the sum of what is private or copied (Pss_Anon), each shared page
counted once.  Mapped files are left out: the kernel can drop those of the host, and the caps on scratch and /tmp count
the others; shared memory that is in no file is denied by the filter.  The sum of RSS, which is cheaper and never less,
is looked at first.  A process that closes itself off from that look is counted by what of its RSS is its own.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True)
class Usage:
    """Of all living processes of this PID namespace but the first."""

    cpu_s: float  # with that of the children each has waited for
    rss_bytes: int
    pids: tuple[str, ...]


def look() -> Usage:
    """Add up what the processes use now."""
    cpu_ticks = pages = 0
    pids = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]  # noqa: PTH208
    for pid in pids:
        try:
            # proc(5): after the name, utime stime cutime cstime are the 12th to 15th field, rss the 22nd.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        cpu_ticks += sum(map(int, fields[11:15]))
        pages += int(fields[21])
    return Usage(cpu_ticks / _TICKS, pages * _PAGE, tuple(pids))


def proportional_bytes(usage: Usage) -> int:
    """Return the memory of those processes that no file backs, with every shared page counted once."""
    return sum(map(_pss_bytes, usage.pids))


def _pss_bytes(pid: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        return _own_bytes(pid)
    except OSError:  # gone meanwhile
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))


def _own_bytes(pid: str) -> int:
    try:
        _size, resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * _PAGE

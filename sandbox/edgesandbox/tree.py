"""What all processes of a job use together, read from /proc by the supervisor.

For hosts without writable cgroups.  Memory is the sum of what is private or copied (Pss_Anon), each shared page
counted once.  Mapped files are left out: the kernel can drop those of the host, and the caps on scratch and /tmp count
the others; shared memory that is in no file is denied by the filter.  The sum of RSS, which is cheaper and never less,
is looked at first.  A process that closes itself off from that look is counted by what of its RSS is its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from edgesandbox.report import Outcome
from edgesandbox.spec import Limits

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True)
class Usage:
    """Of all living processes of a job."""

    cpu_s: float  # with that of the children each has waited for
    rss_bytes: int
    pids: tuple[str, ...]


class Tree(Protocol):
    """All processes of one job."""

    def look(self) -> Usage:
        """Add up what they use now."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each of them, in one step that no fork can escape."""

    def over(self, limits: Limits) -> Outcome | None:
        """Say which other limit the last look has found exceeded."""


class Namespace:
    """Every process of this PID namespace but the caller, who is its first."""

    def look(self) -> Usage:
        """Add up what they use now."""
        return add_up(pid for pid in pids() if pid != "1")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each of them, in one step that no fork can escape."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, number)

    def over(self, limits: Limits) -> Outcome | None:
        """Say that none is."""
        return None


def pids() -> list[str]:
    """Return the numbers of all processes that are to be seen."""
    return [name for name in os.listdir("/proc") if name.isdigit()]


def read_stat(pid: str) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the name, as proc(5) lists them; None where the process is gone."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 4096).rpartition(b")")[2].decode().split()
    except OSError:
        return None
    finally:
        os.close(fd)


def add_up(among: Iterable[str], group: int | None = None) -> Usage:
    """Add up what these processes use now; with ``group``, only those in that process group."""
    cpu_ticks = pages = 0
    counted = []
    for pid in among:
        # After the name: pgrp is the third field, utime stime cutime cstime the 12th to 15th, rss the 22nd.
        fields = read_stat(pid)
        if not fields or (group is not None and int(fields[2]) != group):
            continue
        counted.append(pid)
        cpu_ticks += sum(map(int, fields[11:15]))
        pages += int(fields[21])
    return Usage(cpu_ticks / _TICKS, pages * _PAGE, tuple(counted))


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

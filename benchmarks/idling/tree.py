"""What a process and all its descendants take: processor time and memory, by the kernel's own count."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from benchmarks.dispatching import processes
from benchmarks.sandboxes import memory

#: What a process of a node is called in the tables, by what its command line names.
_PARTS = (("import launcher", "launcher"), ("import zygote", "zygote"))
WARM = "sandboxes kept ready"


def members(pid: int) -> list[int]:
    """Return a process and all below it."""
    return [pid, *memory.descendants(pid)]


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a tree has used; of what has ended, that which was waited for."""
    return sum(processes.cpu_s(each) + _buried_s(each) for each in members(pid))


def _buried_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def pss_bytes(pid: int) -> int:
    """Return a tree's memory, each page that several share divided among them."""
    return sum(memory.bytes_of(each, "Pss") for each in members(pid))


def parts(pid: int) -> Iterator[tuple[str, int]]:
    """Yield what of a node's tree is what, and its memory; sandboxes that are kept ready come as one."""
    waiting = 0
    for each in members(pid):
        line = Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        pss = memory.bytes_of(each, "Pss")
        name = "agent" if each == pid else next((name for mark, name in _PARTS if mark in line), "")
        if name == "zygote" and _parent_is_zygote(each):
            waiting += pss
        else:
            yield name or "other", pss
    yield WARM, waiting


def _parent_is_zygote(pid: int) -> bool:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return b"import zygote" in Path(f"/proc/{fields[1]}/cmdline").read_bytes()


def children_s() -> float:
    """Return the processor seconds of this process's children that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

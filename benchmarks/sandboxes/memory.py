"""How much memory a process and its descendants hold, by the kernel's own count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def descendants(pid: int) -> Iterator[int]:
    """Yield the ids of all processes below ``pid``."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            children.setdefault(int(after_name[1]), []).append(int(entry.name))
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        yield from below
        waiting += below


def bytes_of(pid: int, kind: str) -> int:
    """Return a process's ``Rss``, or its ``Pss``: shared pages divided by how many share them.

    Raises:
        OSError: the process is gone, or this user may not look.
        ValueError: the kernel counts no such kind.
    """
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == kind:
            return int(value.split()[0]) * 1024
    raise ValueError(f"no {kind} in smaps_rollup")

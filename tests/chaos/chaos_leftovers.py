"""What nodes that were killed have left on this machine: processes, mounts, control groups, files.

The harness makes itself the reaper of its descendants, so every process that a killed node leaves behind becomes a
child of ours and cannot get out of sight.  Nothing of other programs is counted: only what descends from us, mounts
below the run's own directory, and control groups named after processes that were ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from edgesandbox import cgroupfs

_PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h


def become_reaper() -> None:
    """Become the parent of every descendant whose own parent dies."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process cannot become a reaper")


def descendants(of: Collection[int]) -> set[int]:
    """Return every living process below these; one that has ended and was not collected is none."""
    children: dict[int, list[int]] = {}
    for pid, parent, state in _processes():
        if state != "Z":
            children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = list(of)
    while todo:
        below = children.get(todo.pop(), [])
        found.update(below)
        todo += below
    return found


def strays(programs: Collection[int]) -> set[int]:
    """Return our living descendants that belong to none of ``programs``; collect those that have ended."""
    us = os.getpid()
    for pid, parent, state in _processes():
        if parent == us and state == "Z" and pid not in programs:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    return descendants([us]) - descendants(programs) - set(programs)


def described(pids: Collection[int]) -> list[str]:
    """Return each process with its command line."""
    lines = []
    for pid in sorted(pids):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            lines.append(f"{pid} {command[:80].strip()}")
    return lines


def mounts_below(directory: Path, known: Collection[Path] = ()) -> list[str]:
    """Return the mounts at or below a directory, but for the known ones."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    expected = {str(path) for path in known}
    return [point for point in points if Path(point).is_relative_to(directory) and point not in expected]


def control_groups(pids: Collection[int]) -> list[str]:
    """Return every control group of this host that is one of these launchers' or lies below one."""
    names = {f"{cgroupfs.PREFIX}{pid}" for pid in pids}
    command = ["find", "/sys/fs/cgroup", "-path", f"*/{cgroupfs.PREFIX}*", "-type", "d"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [path for path in found if names & set(path.split("/"))]


def _processes() -> Iterator[tuple[int, int, str]]:
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (directory / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has just ended
        yield int(directory.name), int(parent), state

"""How much memory is left to this process, of what it may have: the machine's, and each control group's that it is in.

A container's limit, or a systemd unit's ``MemoryMax=``, is such a group's; files that the kernel would drop at once are
counted as left.  The pool of warm sandboxes goes by it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from edgesandbox.mounts import Mount, mounts

MEMINFO = Path("/proc/meminfo")


@dataclasses.dataclass(frozen=True)
class Files:
    """What a version of control groups calls the limit, what is used, and the part of that in files not in use."""

    limit: str
    used: str
    inactive: str


_V1 = Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = Files("memory.max", "memory.current", "inactive_file")


class Headroom:
    """Reads the figures again at each ``share``; where they are is found once."""

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        """Find the groups that this process is in.

        Args:
            proc: this process's directory in /proc.
        """
        self._groups: list[tuple[Path, Files]] = []
        try:
            found = list(mounts((proc / "mountinfo").read_text(), (proc / "cgroup").read_text()))
        except OSError:
            return
        for mount in found:
            files = _files(mount)
            if files is not None:
                self._groups += [(path, files) for path in _upwards(mount) if (path / files.limit).exists()]

    def share(self) -> float:
        """Return the smallest share, from 0.0 to 1.0, that is left of the machine's memory or of any group's limit."""
        return min([available_share(_text(MEMINFO)), *(_share_of(path, files) for path, files in self._groups)])


def available_share(meminfo: str) -> float:
    """Return how much of the machine's memory can be had, from the text of /proc/meminfo; 1.0 where it says nothing."""
    fields = {name: value.split()[0] for name, _, value in (line.partition(":") for line in meminfo.splitlines())}
    return int(fields.get("MemAvailable", 1)) / int(fields.get("MemTotal", 1))


def left_of(limit: str, used: str, stat: str, inactive: str) -> float:
    """Return the share of a group's limit that is left, from the texts of its files; 1.0 where it has no limit.

    Args:
        limit: the most bytes, or ``max``.
        used: bytes in use.
        stat: ``memory.stat``, with bytes too.
        inactive: what that file calls files that are not in use.
    """
    try:
        most, now = int(limit), int(used)
    except ValueError:  # "max", or a file that has gone
        return 1.0
    rows = dict(line.rsplit(" ", 1) for line in stat.splitlines() if " " in line)
    return 1.0 if most <= 0 else max(0.0, 1.0 - (now - int(rows.get(inactive, 0))) / most)


def _files(mount: Mount) -> Files | None:
    if mount.kind == "cgroup2":
        return _V2
    return _V1 if "memory" in mount.controllers else None


def _upwards(mount: Mount) -> Iterator[Path]:
    """Yield a group's directory, and those of the groups that it is in."""
    own = Path(mount.own.strip("/"))
    yield from (Path(mount.point) / part for part in (own, *own.parents) if part != Path())
    yield Path(mount.point)


def _share_of(path: Path, files: Files) -> float:
    return left_of(_text(path / files.limit), _text(path / files.used), _text(path / "memory.stat"), files.inactive)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

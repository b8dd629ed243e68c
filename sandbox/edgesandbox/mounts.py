"""Where the hierarchies of control groups are mounted, and where in them this process is.

Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Mount:
    """A hierarchy: where it is mounted, and which of its groups this process is in."""

    kind: str  # "cgroup" or "cgroup2"
    controllers: frozenset[str]
    point: str
    own: str  # as a path below ``point``; empty for the top


def mounts(mountinfo: str, own_groups: str) -> Iterator[Mount]:
    """Read /proc/self/mountinfo and /proc/self/cgroup."""
    groups: dict[str, str] = {}
    for line in own_groups.splitlines():
        _number, names, path = line.split(":", 2)
        groups |= dict.fromkeys(names.split(","), path)
    for line in mountinfo.splitlines():
        front, _, back = line.partition(" - ")
        root, point = (_unescape(each) for each in front.split(" ")[3:5])
        kind, _source, options = back.split(" ")[:3]
        if kind in ("cgroup", "cgroup2"):
            controllers = frozenset(options.split(",")) if kind == "cgroup" else frozenset({""})
            path = next((groups[each] for each in sorted(controllers) if each in groups), "")
            yield Mount(kind, controllers, point, _below(path, root))


def _unescape(text: str) -> str:
    return text.encode().decode("unicode_escape").encode("latin-1").decode()


def _below(path: str, root: str) -> str:
    """Return ``path`` as seen from a mount whose top is ``root``; the top itself where it is not below it."""
    inside = path == root or path.startswith(root.rstrip("/") + "/")
    return path[len(root.rstrip("/")) :].strip("/") if inside else ""

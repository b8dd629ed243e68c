"""Files and directories of the host that a caller wants jobs to have, and where in the jobs' tree they go.

Pure but for looking at what exists.  The launcher checks every wish before it builds anything: a mount point is made
in our own part of the tree alone, never in a directory of the host.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

from edgesandbox.errors import SandboxUnavailable

# Each job has these for itself; what is below the first two is kept visible over them.
_OWN = ("/", "/tmp", "/scratch", "/etc")
_CLOSED = ("/proc", "/dev", "/sys")


@dataclasses.dataclass(frozen=True)
class Bind:
    """A file or directory of the host, where jobs see it, and whether they may write to it."""

    source: str
    inside: str
    writable: bool = False

    @classmethod
    def parse(cls, text: str, *, writable: bool) -> Bind:
        """Read ``PATH`` or ``PATH:INSIDE``; INSIDE begins with a slash, so that other colons are part of PATH.

        Raises:
            ValueError: there is no path.
        """
        source, colon, rest = text.rpartition(":/")
        path = os.path.abspath(source if colon else text)  # links are kept
        if not (source if colon else text):
            raise ValueError(f"{text!r} names no path; write PATH or PATH:/INSIDE")
        return cls(path, os.path.normpath("/" + rest) if colon else path, writable)

    def to_json(self) -> dict[str, Any]:
        """Return the form that the constructor takes as keywords."""
        return dataclasses.asdict(self)


def place(wanted: Iterable[Bind], trees: Iterable[str], links: Mapping[str, str]) -> tuple[Bind, ...]:
    """Return the binds with every link on the way resolved, in the order in which they can be mounted.

    Args:
        wanted: what the caller asks for.
        trees: paths of the host that are in the tree already, at the same place.
        links: symbolic links that are in the tree.

    Raises:
        SandboxUnavailable: a source is missing or is neither file nor directory, or there is no place for it.
    """
    taken = {path: path for path in trees}
    placed: list[Bind] = []
    for bind in sorted(wanted, key=lambda each: each.inside):
        source = _checked(bind.source)
        inside = _resolve(bind.inside, links)
        if inside in _OWN or any(_below(inside, each) is not None for each in _CLOSED):
            raise SandboxUnavailable(f"{bind.source} cannot be shown at {bind.inside}: that is the sandbox's own")
        if inside in (each.inside for each in placed):
            raise SandboxUnavailable(f"{bind.inside} is asked for twice")
        _check_place(source, inside, taken)
        taken[inside] = source
        placed.append(Bind(source, inside, bind.writable))
    return tuple(placed)


def _checked(source: str) -> str:
    try:
        os.stat(source)
    except OSError as problem:
        what = "does not exist here" if isinstance(problem, FileNotFoundError) else (problem.strerror or "").lower()
        raise SandboxUnavailable(f"{source} was to be visible to jobs, but {what or 'cannot be read'}") from None
    if not os.path.isdir(source) and not os.path.isfile(source):
        raise SandboxUnavailable(f"{source} cannot be shown to jobs: it is neither a file nor a directory")
    return os.path.realpath(source)


def _check_place(source: str, inside: str, taken: Mapping[str, str]) -> None:
    """Refuse a place below something of the host where there is nothing, or something else, to mount on."""
    around = max((tree for tree in taken if _below(inside, tree) is not None), key=len, default=None)
    if around is None:
        return
    host = (taken[around] + (_below(inside, around) or "")).rstrip("/")
    fits = os.path.isdir(host) == os.path.isdir(source)
    if not os.path.exists(host) or os.path.realpath(host) != host or not fits:
        raise SandboxUnavailable(
            f"{source} cannot be shown at {inside}: {around} is the host's, and has no such "
            f"{'directory' if os.path.isdir(source) else 'file'} to mount on"
        )


def _resolve(inside: str, links: Mapping[str, str]) -> str:
    for link, target in links.items():
        rest = _below(inside, link)
        if rest is not None:
            return os.path.normpath(target + rest)
    return inside


def _below(path: str, tree: str) -> str | None:
    """Return what follows ``tree`` in ``path``, with its slash; None where the path is not in it."""
    if path == tree:
        return ""
    top = tree.rstrip("/")
    return path[len(top) :] if path.startswith(top + "/") else None

"""The directories of a job in tier C: plain ones of the host, since it lets nobody mount a file system.

The zygote has one directory (``disks.make_base``), and each job one in there, with ``scratch`` and ``tmp`` in it.
Whatever walks a job's directories expects the job to have made them as awkward as it can: nothing is followed, nothing
is recursed into.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

from edgesandbox import disks, footprint

PARTS = ("scratch", "tmp")
# A tree that is deeper than this is taken for one that is too large: each level takes a descriptor to walk.
MOST_LEVELS = 64
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512  # of st_blocks


def make_home(base: Path, number: int, user: int | None) -> Path:
    """Make a job's directories, owned by ``user`` where that is not the caller."""
    home = base / str(number)
    home.mkdir(mode=0o700)
    for path in (*(home / part for part in PARTS), home):
        path.mkdir(mode=0o700, exist_ok=path == home)
        if user is not None:
            os.chown(path, user, user)
    return home


def too_large(directory: int, most_bytes: int) -> bool:
    """Say whether what is below a directory takes more room, or more files, than it may."""
    most_files = footprint.most_files(most_bytes)
    used_bytes = files = 0
    top = os.open(".", _DIRECTORY, dir_fd=directory)
    levels = [(top, _entries(top, most_files))]
    try:
        while levels:
            above, entries = levels[-1]
            if not entries:
                os.close(levels.pop()[0])
                continue
            entry = entries.pop()
            files += 1
            with contextlib.suppress(OSError):  # gone, or closed to us; it is counted as a file
                used_bytes += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                if entry.is_dir(follow_symlinks=False):
                    below = os.open(entry.name, _DIRECTORY, dir_fd=above)
                    levels.append((below, _entries(below, most_files)))
            if used_bytes > most_bytes or files > most_files or len(levels) > MOST_LEVELS:
                return True
        return False
    finally:
        for fd, _ in levels:
            os.close(fd)


def _entries(directory: int, most: int) -> list[os.DirEntry[str]]:
    """Return what is in a directory, up to one more than the most."""
    with os.scandir(directory) as entries:
        return list(itertools.islice(entries, most + 1))


def remove(home: Path) -> None:
    """Remove a directory whose job is dead; what is gone meanwhile is fine, for several of us may be at it."""
    with contextlib.suppress(OSError):
        base = os.open(home.parent, _DIRECTORY)
        try:
            disks.remove_tree(base, home.name)
        finally:
            os.close(base)

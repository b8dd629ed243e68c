"""The directories of a job in tier C: plain ones of the host, since it lets nobody mount a file system.

The zygote has one directory (``disks.make_base``), and each job one in there, with ``scratch`` and ``tmp`` in it.
Whatever walks a job's directories expects the job to have made them as awkward as it can: nothing is followed, nothing
is recursed into.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
from pathlib import Path

from edgesandbox import footprint

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
    """Remove a directory whose job is dead.

    A directory in it is moved up to the top before it is looked into, so that no depth is too deep; one that was closed
    to its owner is opened.  What is gone meanwhile is fine: several of us may be at it.
    """
    with contextlib.suppress(OSError):
        _empty(home)
        home.rmdir()


def _empty(home: Path) -> None:
    top = os.open(home, _DIRECTORY)
    try:
        fresh = (f".{os.urandom(8).hex()}-{number}" for number in itertools.count())
        while names := os.listdir(top):  # by its descriptor
            for name in names:
                if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=top)
                    continue
                os.chmod(name, 0o700, dir_fd=top)
                fd = os.open(name, _DIRECTORY, dir_fd=top)
                try:
                    for below in os.listdir(fd):
                        if stat.S_ISDIR(os.stat(below, dir_fd=fd, follow_symlinks=False).st_mode):
                            os.chmod(below, 0o700, dir_fd=fd)  # to be moved, it has to be writable
                            os.rename(below, next(fresh), src_dir_fd=fd, dst_dir_fd=top)
                        else:
                            os.unlink(below, dir_fd=fd)
                finally:
                    os.close(fd)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def remove_base(base: Path) -> None:
    """Remove the zygote's directory and whatever jobs have left in there."""
    with contextlib.suppress(OSError):
        for home in list(base.iterdir()):
            remove(home)
    shutil.rmtree(base, ignore_errors=True)

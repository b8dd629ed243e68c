"""What a job has on disk, counted by its supervisor: the watchdog over a scratch directory that no kernel limit bounds.

A file counts once, however many links it has, and by the blocks that it takes, so holes are free.  Files that are
deleted but still open count, too.  Two things escape a look: a directory that is moved from a place that is still to be
looked at to one that has been, and a deleted file that is only mapped or in flight between sockets.  What bounds these
is the floor: the job ends when the whole file system runs short.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from edgesandbox.spec import Limits

# What has to stay free of the file system, in bytes, or in parts of it where that is less.
FLOOR_BYTES, FLOOR_SHARE = 1 << 30, 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def most_files(size_bytes: int, *, in_memory: bool = False) -> int:
    """Return how many files, directories and links there may be where this much fits; in memory each takes 1 KiB more.

    The kernel does not count that.
    """
    return min(max(size_bytes // 4096, 256), 65_536 if in_memory else 1_000_000)


def free_bytes(scratch: int) -> int:
    """Return how much can be written before the file system runs short; below zero once it has."""
    state = os.fstatvfs(scratch)
    floor = min(FLOOR_BYTES, state.f_blocks * state.f_frsize // FLOOR_SHARE)
    return state.f_bavail * state.f_frsize - floor


def is_full(state: os.statvfs_result) -> bool:
    """Say whether a file system has no room left, or no inode where it counts them (btrfs has 0 of 0 free)."""
    return state.f_bfree == 0 or (state.f_files > 0 and state.f_ffree == 0)


def is_over(scratch: int, limits: Limits) -> bool:
    """Say whether a job has more in its scratch than it may, or the file system runs short."""
    if free_bytes(scratch) < 0:
        return True
    files = total = 0
    seen: set[int] = set()
    for status in _everything(scratch):
        if status.st_nlink != 1 and not stat.S_ISDIR(status.st_mode):
            if status.st_ino in seen:
                continue
            seen.add(status.st_ino)
        files += 1
        total += status.st_blocks * 512
        if total > limits.scratch_bytes or files > most_files(limits.scratch_bytes):
            return True
    return False


def _everything(scratch: int) -> Iterator[os.stat_result]:
    """Yield what is in the tree, and what of it is deleted but open."""
    device = os.fstat(scratch).st_dev
    todo = ["."]
    while todo:
        path = todo.pop()
        try:
            directory = os.open(path, _DIRECTORY, dir_fd=scratch)
        except OSError:  # gone or moved; or so deep that no path leads there, which costs a block each all the same
            continue
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if status.st_dev != device:  # something that the caller has mounted there
                            continue
                        if stat.S_ISDIR(status.st_mode):
                            todo.append(f"{path}/{entry.name}")
                        yield status
        finally:
            os.close(directory)
    yield from _deleted(device)


def _deleted(device: int) -> Iterator[os.stat_result]:
    for thread in _threads():
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"{thread}/fd"):
                with contextlib.suppress(OSError):
                    status = os.stat(f"{thread}/fd/{fd}")
                    if status.st_dev == device and status.st_nlink == 0:
                        yield status


def _threads() -> Iterator[str]:
    """Yield the directories of all threads in this PID namespace but our own: each may have descriptors of its own."""
    for pid in os.listdir("/proc"):
        if pid.isdigit() and pid != "1":
            with contextlib.suppress(OSError):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    yield f"/proc/{pid}/task/{thread}"

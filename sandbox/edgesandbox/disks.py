"""Directories on disk that are the scratch of jobs whose outputs do not fit into memory.

The launcher makes one directory for its zygote in the place that the caller names, and holds a lock on it; those that
nobody holds any more were left by a launcher that was killed, and go.  The zygote makes one below it for each job.
That one is removed when its job is dead and the agent has let go of it: the agent, or a sandbox that was never
finished, holds one end of a pipe, and the zygote sees the other end close.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import itertools
import os
import select
from collections.abc import Iterator
from pathlib import Path

from edgesandbox import linux
from edgesandbox.errors import SandboxUnavailable

# Where the zygote has it, and each job until its own is mounted.
INSIDE = "/disk"
PREFIX = "edgesandbox-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A tree in which somebody still makes files is given up after so many tries; the next launcher removes the rest.
_TRIES = 100


@dataclasses.dataclass(frozen=True)
class Base:
    """A zygote's directory, as its launcher has it; ``lock`` is open as long as it is in use."""

    path: str
    lock: int

    def remove(self) -> None:
        """Remove it with all that is in it."""
        remove_base(self.path)


def remove_base(path: str) -> None:
    """Remove a zygote's directory with all that is in it, if it is there."""
    with contextlib.suppress(OSError), _opened(os.path.dirname(path)) as where:
        remove_tree(where, os.path.basename(path))


def make_base(where: str, owner: int) -> Base:
    """Make a zygote's directory in ``where``, for its user ``owner``, and sweep out what was left there.

    Others may pass through it, but not look into it.

    Raises:
        SandboxUnavailable: that cannot be done; one line that names the directory.
    """
    try:
        with _opened(where) as directory:
            fcntl.flock(directory, fcntl.LOCK_EX)  # nobody sweeps what is just being made
            _sweep(directory)
            name = f"{PREFIX}{os.urandom(8).hex()}"
            os.mkdir(name, 0o700, dir_fd=directory)
            lock = os.open(name, _DIRECTORY, dir_fd=directory)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if owner:
                os.chown(lock, owner, owner)
            os.fchmod(lock, 0o711)  # its jobs, other users to the kernel, pass through
    except OSError as problem:
        raise SandboxUnavailable(
            f"no scratch directories can be made in {where}: {problem.strerror}; name a directory on disk that "
            "the user who starts the sandbox may write to"
        ) from None
    return Base(os.path.join(os.path.realpath(where), name), lock)


def _sweep(directory: int) -> None:
    for name in os.listdir(directory):
        if not name.startswith(PREFIX):
            continue
        with contextlib.suppress(OSError), _opened(name, directory) as stale:  # another user's, or in use
            fcntl.flock(stale, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(directory, name)


@contextlib.contextmanager
def _opened(path: str, directory: int | None = None) -> Iterator[int]:
    fd = os.open(path, _DIRECTORY if directory is not None else _DIRECTORY & ~os.O_NOFOLLOW, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)


def remove_tree(where: int, name: str) -> None:
    """Remove a directory that a stranger has filled, whatever it holds and however deep it is.

    No link is followed, and no path is longer than a name: a directory that is not empty is moved up to the top first.
    One that its owner has closed to himself is opened, where that is who we are.

    Args:
        where: descriptor of the directory that it is in, where no other name begins with ``name`` and a dot.
        name: what it is called there.

    Raises:
        OSError: it cannot be removed.
    """
    todo = [name]
    fresh = (f"{name}.{os.urandom(8).hex()}-{number}" for number in itertools.count())  # another may be at it too
    tries = 0
    while todo:
        current = todo.pop()
        with _opened_up(current, where) as directory:
            for each, is_directory in _entries(directory):
                if not is_directory:
                    os.unlink(each, dir_fd=directory)
                    continue
                try:
                    os.rmdir(each, dir_fd=directory)
                except OSError:
                    with _opened_up(each, directory):  # to be moved, it has to be writable
                        todo.append(next(fresh))
                        os.rename(each, todo[-1], src_dir_fd=directory, dst_dir_fd=where)
        try:
            os.rmdir(current, dir_fd=where)
        except OSError as problem:
            tries += 1
            if problem.errno != errno.ENOTEMPTY or tries > _TRIES:
                raise
            todo.append(current)


@contextlib.contextmanager
def _opened_up(name: str, where: int) -> Iterator[int]:
    """Open a directory of which we may be the owner, but without a right to it."""
    if os.stat(name, dir_fd=where, follow_symlinks=False).st_mode & 0o700 != 0o700:
        with contextlib.suppress(PermissionError):  # not ours, but root has no need of that
            os.chmod(name, 0o700, dir_fd=where)
    with _opened(name, where) as directory:
        yield directory


def _entries(directory: int) -> Iterator[tuple[str, bool]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry.name, entry.is_dir(follow_symlinks=False)


@dataclasses.dataclass
class Disk:
    """One job's directory; removed when it is neither ``held`` by an agent nor ``used`` by a process."""

    name: str
    hold: int  # the end of the pipe to pass on
    held: bool = True
    used: bool = True


class Disks:
    """The zygote's side: one directory for each job."""

    def __init__(self, poll: select.poll, *, on_disk: bool) -> None:
        """Have ``poll`` tell when an agent lets go of one; where scratches are not ``on_disk`` there are none."""
        self._on_disk = on_disk
        self._poll = poll
        self._number = 0
        self._held: dict[int, Disk] = {}  # by our end of the pipe

    def take(self, user: int) -> Disk | None:
        """Make a directory for a job with this user id."""
        if not self._on_disk:
            return None
        self._number += 1
        path = f"{INSIDE}/{self._number}"
        try:
            Path(path).mkdir(mode=0o700)
            if user:
                os.chown(path, user, user)
        except OSError as problem:
            raise OSError(problem.errno, f"make a scratch directory on disk: {problem.strerror}") from None
        ours, theirs = os.pipe()
        disk = Disk(str(self._number), theirs)
        self._held[ours] = disk
        self._poll.register(ours, 0)  # POLLHUP comes all the same
        return disk

    @staticmethod
    def passed_on(disk: Disk | None) -> None:
        """Say that the job's process has its end of the pipe."""
        if disk is not None and disk.hold >= 0:
            os.close(disk.hold)
            disk.hold = -1

    def notice(self, ready: list[int]) -> None:
        """Remember which of them nobody holds any more."""
        for fd in self._held.keys() & set(ready):
            self._poll.unregister(fd)
            os.close(fd)
            disk = self._held.pop(fd)
            disk.held = False
            _remove_unless_needed(disk)

    def give_back(self, disk: Disk | None) -> None:
        """Say that every process of its job is dead."""
        if disk is not None:
            self.passed_on(disk)
            disk.used = False
            _remove_unless_needed(disk)


def _remove_unless_needed(disk: Disk) -> None:
    """Remove it in a process of its own, for that may take long; nobody waits for that but the kernel."""
    if disk.held or disk.used:
        return
    pid = linux.clone(0)
    if pid == 0:
        try:
            with _opened(INSIDE) as where:
                remove_tree(where, disk.name)
        finally:
            os._exit(0)

"""Directories of control groups: to make them, to open their files, and to get rid of them for certain."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from edgesandbox import passing

PREFIX = "edgesandbox-"
# Major and minor numbers of null, zero, full, random and urandom: Linux's Documentation/admin-guide/devices.txt.
DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9))
_REMOVE_WITHIN_S = 5.0
READ, WRITE = os.O_RDONLY, os.O_WRONLY
# What a job's supervisor calls a file, the file's name, and what for; names with a ? may be missing.
File = tuple[str, str, int]


class Directory:
    """A directory in one hierarchy for all groups of this launcher, locked so that nobody takes it for abandoned."""

    def __init__(self, parent: Path) -> None:
        _sweep(parent)
        self.path = parent / f"{PREFIX}{os.getpid()}"
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        for child in (each for each in self.path.iterdir() if each.is_dir()):
            remove(child)
        remove(self.path)
        os.close(self._lock)


def _sweep(parent: Path) -> None:
    """Remove what launchers that were killed left behind; nothing runs in there."""
    for path in parent.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for child in (each for each in path.iterdir() if each.is_dir()):
                    child.rmdir()
                path.rmdir()
            finally:
                os.close(fd)


def remove(path: Path) -> None:
    """Remove a group; what still runs in it is killed.

    Raises:
        OSError: it would not go.
    """
    end = time.monotonic() + _REMOVE_WITHIN_S
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > end:
                raise
            _kill(path)
            time.sleep(0.001)  # nothing tells when the last process has left a group
        else:
            return


def _kill(path: Path) -> None:
    with contextlib.suppress(OSError):
        if (path / "cgroup.kill").exists():
            write(path / "cgroup.kill", "1")
            return
        for pid in (path / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


def write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    except OSError as problem:
        raise OSError(problem.errno, f"write {text} to {path}: {problem.strerror}") from None
    finally:
        os.close(fd)


def open_files(directory: Path, files: Sequence[File]) -> tuple[list[str], list[int]]:
    names: list[str] = []
    fds: list[int] = []
    try:
        for role, name, mode in files:
            try:
                fds.append(os.open(f"{directory}/{name.rstrip('?')}", mode))
            except FileNotFoundError:
                if name.endswith("?"):
                    continue
                raise
            names.append(role)
    except BaseException:
        passing.close_all(fds)
        raise
    return names, fds

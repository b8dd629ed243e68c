"""Reading what a dead job left behind, as if it were an attack.

A tree may hold links out of itself, links to itself, FIFOs that block whoever opens them, a million files, or a sparse
file of a terabyte.  Every file is opened beneath the job's own directory without following anything, and looked at
through the descriptor; the whole tree is judged before the first file is given out.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from collections.abc import Callable, Iterator

from edgesandbox import linux
from edgesandbox.errors import OutputRefused

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


@dataclasses.dataclass(frozen=True)
class CollectedFile:
    """One output; ``fd`` is open until the next one is asked for."""

    name: str
    size_bytes: int
    fd: int


Opener = Callable[[int, str, int], int]  # as ``linux.open_beneath``


def collect(
    scratch_fd: int, directory: str, *, max_files: int, max_bytes: int, opener: Opener = linux.open_beneath
) -> Iterator[CollectedFile]:
    """Yield the files in ``directory`` of a dead job's scratch, in the order of their names.

    Args:
        scratch_fd: ``Box.scratch_fd``.
        opener: what opens beneath a directory, for a reader that is not the files' owner.
        directory: name of a directory in it; a missing one holds no files.
        max_files: the most files there may be.
        max_bytes: the most that all of them together may hold, holes included.

    Raises:
        OutputRefused: something there is not a plain file, has a second link or an unprintable name, or there is too
            much; raised before the first file is yielded.
    """
    try:
        where = opener(scratch_fd, directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    except OSError as problem:
        raise OutputRefused(f"{directory} is not a directory that can be read: {_reason(problem)}") from None
    try:
        names = _names(where, max_files)
        total = 0
        for name in names:
            fd, size_bytes = _open(opener, where, name)
            os.close(fd)
            total += size_bytes
        if total > max_bytes:
            raise OutputRefused(f"the outputs hold {total} bytes, more than the {max_bytes} allowed")
        for name in names:
            fd, size_bytes = _open(opener, where, name)
            try:
                yield CollectedFile(name, size_bytes, fd)
            finally:
                os.close(fd)
    finally:
        os.close(where)


def _names(where: int, max_files: int) -> list[str]:
    names: list[str] = []
    with os.scandir(where) as entries:
        for entry in entries:
            if len(names) == max_files:
                raise OutputRefused(f"there are more than {max_files} outputs")
            if not entry.name.isprintable():  # surrogates, which stand for bytes that are not UTF-8, are not printable
                raise OutputRefused(f"an output's name is not printable text: {entry.name!a}")
            names.append(entry.name)
    return sorted(names)


def _open(opener: Opener, where: int, name: str) -> tuple[int, int]:
    try:
        fd = opener(where, name, _FLAGS)
    except OSError as problem:
        raise OutputRefused(f"output {name} cannot be read: {_reason(problem)}") from None
    state = os.fstat(fd)
    if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
        return fd, state.st_size
    os.close(fd)
    what = "has more than one link" if stat.S_ISREG(state.st_mode) else "is not a plain file"
    raise OutputRefused(f"output {name} {what}")


def _reason(problem: OSError) -> str:
    return "it is a symbolic link" if problem.errno == errno.ELOOP else os.strerror(problem.errno or 0).lower()

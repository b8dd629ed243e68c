"""A second wall around files: even a file that gets into a job's tree by mistake can only be read.

Landlock works by the path a file is reached on, needs no privilege, and stays with every process that the job starts.
Where the kernel has it, a job may read and execute what it sees, write below /scratch, /tmp, /dev, /proc and
what the caller has made writable, and, from ABI 6 on, neither signal a process outside nor reach an abstract socket
outside.
"""

from __future__ import annotations

import errno
import os
import struct

from edgesandbox import linux

# linux/landlock.h: one bit for each right, and how many of them each ABI version knows.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
READ = EXECUTE | READ_FILE | READ_DIR
USE = READ_FILE | WRITE_FILE | READ_DIR | TRUNCATE | IOCTL_DEV
FILE = EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV  # what can be said of a file
_SCOPES = 3  # abstract sockets and signals, ABI 6


def abi() -> int:
    """Return the version that this kernel speaks; 0 where it has none or has it switched off."""
    try:
        return linux.landlock_create_ruleset(b"", 1)
    except OSError:
        return 0


def disabled() -> bool:
    """Return whether this kernel has Landlock, and it was switched off when the machine started (lsm=)."""
    try:
        linux.landlock_create_ruleset(b"", 1)
    except OSError as problem:
        return problem.errno == errno.EOPNOTSUPP
    return False


def rights(version: int) -> int:
    """Return every right that a version knows."""
    return (1 << _RIGHTS_BY_ABI[min(version, 5)]) - 1


def create(version: int) -> int:
    """Return a descriptor of a ruleset that handles all that a version can."""
    attributes = struct.pack("=QQQ", rights(version), 0, _SCOPES if version >= 6 else 0)
    return linux.landlock_create_ruleset(attributes[: 24 if version >= 6 else 8], 0)


class Wall:
    """The rules for one kernel, laid out before the fork."""

    def __init__(self, version: int, writable: tuple[str, ...] = ()) -> None:
        """Lay them out for a version of 1 or more, with what may be written to besides a job's own."""
        everything = rights(version)
        own = {"/": READ, "/scratch": everything, "/tmp": everything, "/dev": USE, "/proc": USE}
        allowed = own | dict.fromkeys(writable, everything)
        kept = {path: FILE for path in writable if not os.path.isdir(path)}
        self._version = version
        self._rights = tuple((path, each & everything & kept.get(path, each)) for path, each in allowed.items())

    def restrict(self) -> None:
        """Confine this process; needs ``no_new_privs``.

        Raises:
            OSError: the kernel refused.
        """
        ruleset = create(self._version)
        for path, allowed in self._rights:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            linux.landlock_allow_beneath(ruleset, struct.pack("=Qi", allowed, fd))
            os.close(fd)
        linux.landlock_restrict_self(ruleset)
        os.close(ruleset)

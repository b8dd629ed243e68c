"""A second wall around files: even a file that gets into a job's tree by mistake can only be read.

Landlock works by the path a file is reached on, needs no privilege, and stays with every process that the job starts.
Where the kernel has it, a job may read and execute what it sees, write below /scratch, /tmp, /dev, /proc and
what the caller has made writable, and, from ABI 6 on, neither signal a process outside nor reach an abstract socket
outside.
"""

from __future__ import annotations

import os
import struct

from edgesandbox import linux

# linux/landlock.h: one bit for each right, and how many of them each ABI version knows.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_USE = _READ_FILE | _WRITE_FILE | _READ_DIR | _TRUNCATE | _IOCTL_DEV
_FILE = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV  # what can be said of a file
_SCOPES = 3  # abstract sockets and signals, ABI 6


def abi() -> int:
    """Return the version that this kernel speaks; 0 where it has none or has it switched off."""
    try:
        return linux.landlock_create_ruleset(b"", 1)
    except OSError:
        return 0


class Wall:
    """The rules for one kernel, laid out before the fork."""

    def __init__(self, version: int, writable: tuple[str, ...] = ()) -> None:
        """Lay them out for a version of 1 or more, with what may be written to besides a job's own."""
        everything = (1 << _RIGHTS_BY_ABI[min(version, 5)]) - 1
        attributes = struct.pack("=QQQ", everything, 0, _SCOPES if version >= 6 else 0)
        self._attributes = attributes[: 24 if version >= 6 else 8]
        own = {"/": _READ, "/scratch": everything, "/tmp": everything, "/dev": _USE, "/proc": _USE}  # noqa: S108
        rights = own | dict.fromkeys(writable, everything)
        kept = {path: _FILE for path in writable if not os.path.isdir(path)}  # noqa: PTH112
        self._rights = tuple((path, each & everything & kept.get(path, each)) for path, each in rights.items())

    def restrict(self) -> None:
        """Confine this process; needs ``no_new_privs``.

        Raises:
            OSError: the kernel refused.
        """
        ruleset = linux.landlock_create_ruleset(self._attributes, 0)
        for path, rights in self._rights:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            linux.landlock_allow_beneath(ruleset, struct.pack("=Qi", rights, fd))
            os.close(fd)
        linux.landlock_restrict_self(ruleset)
        os.close(ruleset)

"""What a job may open in tier C, where Landlock is the only wall around files.

The same system directories, interpreter and modules as in a tree of its own, for reading; the job's two directories;
five harmless devices.  Everything else of the host is in its place, but cannot be opened.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from edgesandbox import landlock, linux, root
from edgesandbox.errors import SandboxUnavailable

# Read by the C library to find names and places; ``/proc`` shows processes of the host, but lets nobody look into one
# (Landlock forbids what ptrace would need).
SHOWN = (*root.FILES, "/proc")


@dataclasses.dataclass(frozen=True)
class Wall:
    """Rules for all jobs of one zygote; those for one job's own directories are added in it."""

    version: int
    readable: tuple[str, ...]
    writable: tuple[str, ...] = ()

    @classmethod
    def plan(cls, version: int, plan: root.Plan) -> Wall:
        """Lay out the rules for a version of 1 or more, for what a tree of its own would be made of.

        Raises:
            SandboxUnavailable: something was to be seen elsewhere than where it is.
        """
        for bind in plan.asked:
            if bind.source != bind.inside:
                raise SandboxUnavailable(f"{bind.source} cannot be shown at {bind.inside} in tier C, only where it is")
        asked = {bind.source: bind.writable for bind in plan.asked}
        readable = [path for path in (*plan.binds, *SHOWN, *asked) if Path(path).exists()]
        return cls(version, tuple(readable), tuple(path for path, writable in asked.items() if writable))

    def restrict(self, own: Iterable[Path], given: Iterable[Path] = ()) -> None:
        """Confine this process, who may use what is its ``own`` and read what it is ``given``; needs ``no_new_privs``.

        Raises:
            OSError: the kernel refused.
        """
        everything = landlock.rights(self.version)
        rules = [(path, landlock.READ) for path in (*self.readable, *map(str, given))]
        rules += [(f"/dev/{name}", landlock.USE) for name in root.DEVICES]
        rules += [(str(path), everything) for path in (*self.writable, *own)]
        ruleset = landlock.create(self.version)
        for path, rights in rules:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            kept = everything if stat.S_ISDIR(os.fstat(fd).st_mode) else everything & landlock.FILE
            linux.landlock_allow_beneath(ruleset, struct.pack("=Qi", rights & kept, fd))
            os.close(fd)
        linux.landlock_restrict_self(ruleset)
        os.close(ruleset)

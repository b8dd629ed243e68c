"""System calls made ready ahead: who forks prepares them, who was forked only makes them.

A forked process copies every page that it writes to, and Python writes to each object that it looks at.  So what a
child of the zygote has to ask of the kernel is laid out before the fork, every argument converted; all that is left to
do afterwards is one short loop.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

# Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h (aarch64).
_NUMBERS = {
    "capset": (126, 91),
    "chdir": (80, 49),
    "mount": (165, 40),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "rt_sigprocmask": (14, 135),
    "setgroups": (116, 159),
    "setresgid": (119, 149),
    "setresuid": (117, 147),
    "setsid": (112, 157),
    "unshare": (272, 97),
}
_COLUMN = int(platform.machine() == "aarch64")

# As in ``linux``: the interpreter lock stays held.
_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long

Argument = int | bytes | ctypes.Array[Any] | None


class Calls:
    """A row of system calls with all their arguments."""

    def __init__(self) -> None:
        """Start with none."""
        self._calls: list[tuple[str, tuple[Any, ...]]] = []

    def add(self, name: str, *arguments: Argument, what: str = "") -> None:
        """Append a call; an error names ``what``, where given, in its place."""
        words = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
        self._calls.append((what or name, (ctypes.c_long(_NUMBERS[name][_COLUMN]), *words)))

    def make(self) -> None:
        """Make them all, in order.

        Raises:
            OSError: one failed; the text names it, and those after it were not made.
        """
        call = _syscall
        for what, arguments in self._calls:
            if call(*arguments) < 0:
                error = ctypes.get_errno()
                raise OSError(error, f"{what}: {os.strerror(error)}")

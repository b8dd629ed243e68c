"""One job's control group, as its supervisor has it: a handful of opened control files.

The launcher has made the group (``cgroups``); here it is joined, limited and read.  The descriptors are closed in the
job's process before any of the stranger's code runs.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from typing import Any

from edgesandbox import linux, passing
from edgesandbox.grant import MOST_PLACES, Grant
from edgesandbox.spec import Limits

MAX_FILES = 16
_JOIN = "join"
# Which files belong to which protection.
_ROLES = {
    "cgroup_memory": ("memory_limit", "swap_limit", "memory_peak", "oom"),
    "cgroup_pids": ("pids_limit",),
    "cgroup_cpu": ("cpu",),
}
# The supervisor is in the group, too.
_SUPERVISOR = 1
# The kernel charges a group in batches of 64 pages on each processor.
_SLACK_BYTES = 1 << 20


@dataclasses.dataclass
class Group:
    """The control files of one group.

    Attributes:
        number: what the launcher calls it.
        version: 1 or 2.
        files: descriptors by role.
        joins: descriptors of ``cgroup.procs``, one for each hierarchy; version 1 only.
    """

    number: int
    version: int
    files: dict[str, int]
    joins: list[int]

    @property
    def directory(self) -> int | None:
        """Return a descriptor to clone into; version 2 only."""
        return self.files.get("directory")

    def fds(self) -> list[int]:
        """Return every descriptor."""
        return [*self.files.values(), *self.joins]

    def close(self) -> None:
        """Close every descriptor."""
        passing.close_all(self.fds())
        self.files, self.joins = {}, []

    def keep_readers(self) -> None:
        """Close what can change the group."""
        for role in ("memory_limit", "swap_limit", "pids_limit", "directory"):
            if role in self.files:
                os.close(self.files.pop(role))
        passing.close_all(self.joins)
        self.joins = []

    def join(self) -> None:
        """Move this process in; takes some 10 ms where nobody has moved lately, for the kernel waits for all CPUs."""
        for fd in self.joins:
            os.write(fd, b"0")
            os.close(fd)
        self.joins = []

    def leave_out(self, protections: tuple[str, ...]) -> None:
        """Forget what a spec does without."""
        for name in protections:
            for role in _ROLES.get(name, ()):
                if role in self.files:
                    os.close(self.files.pop(role))

    def limit(self, limits: Limits) -> None:
        """Set the limits.

        Raises:
            OSError: the kernel takes one of them not; the text names it.
        """
        swap = limits.memory_bytes if self.version == 1 else 0  # version 1 counts memory and swap together there
        wanted = {"memory_limit": limits.memory_bytes, "swap_limit": swap, "pids_limit": limits.pids + _SUPERVISOR}
        for role, value in wanted.items():
            if role in self.files:
                try:
                    os.write(self.files[role], str(value).encode())
                except OSError as problem:
                    raise OSError(problem.errno, f"{role} of {value}: {problem.strerror}") from None

    @property
    def counts_memory(self) -> bool:
        """Say whether the kernel counts and limits the job's memory."""
        return "memory_limit" in self.files

    @property
    def peak_source(self) -> int:
        """Return what ``peak_bytes`` reads: a place in ``report.MEMORY_SOURCES``; 0 where it reads nothing."""
        return self.version if "memory_peak" in self.files else 0

    def peak_bytes(self) -> int:
        """Return the most memory used at one time; 0 where that is not counted."""
        return int(self._read("memory_peak") or 0)

    def cpu_s(self) -> float | None:
        """Return the processor seconds of all that ever ran in the group; None where that is not counted."""
        text = self._read("cpu")
        if not text:
            return None
        return int(text) / 1e9 if self.version == 1 else _fields(text)["usage_usec"] / 1e6

    def out_of_memory(self, limit_bytes: int) -> bool:
        """Say whether the kernel killed in here because the group's own limit was reached.

        A kill alone is not enough: the whole machine's lack of memory counts there, too.  Version 1 does not say which
        of the two it was, but then the group was not at its limit.
        """
        events = _fields(self._read("oom"))
        if not events.get("oom_kill"):
            return False
        return bool(events["oom"]) if self.version == 2 else self.peak_bytes() + _SLACK_BYTES >= limit_bytes

    def _read(self, role: str) -> str:
        return os.pread(self.files[role], 4096, 0).decode() if role in self.files else ""


def _fields(text: str) -> dict[str, int]:
    """Read lines of a name and a number."""
    return {name: int(value) for name, value in map(str.split, text.splitlines())}


class LauncherGone(Exception):  # noqa: N818 - says what has happened
    """The launcher has died: this zygote is about to, and is of no use any more."""


class Groups:
    """The zygote's side of the launcher's keeper: one group is always asked for ahead.

    Every method raises ``LauncherGone`` where nobody is at the other end.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Hear what there is."""
        self._sock = sock
        self._asked = False
        self._early: tuple[dict[str, Any], list[int]] | None = None
        told, _ = self._receive(0)
        self.version: int = told["version"]
        self.protections: tuple[str, ...] = tuple(told["protections"])
        self.missing: dict[str, str] = told["missing"]
        if self.version:
            self._ask()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            passing.send(self._sock, message)
        except ConnectionError:
            raise LauncherGone from None

    def _receive(self, max_fds: int) -> tuple[dict[str, Any], list[int]]:
        try:
            answer, fds = passing.receive(self._sock, max_fds=max_fds)
        except ConnectionError:
            raise LauncherGone from None
        if answer is None:
            raise LauncherGone
        return answer, fds

    def _ask(self) -> None:
        self._send({"make": True})
        self._asked = True

    def check(self) -> None:
        """Have a process born in a group, where jobs are to be; do without groups where that fails."""
        group = self.take() if self.version == 2 else None
        if group is None:
            return
        try:
            pid = linux.clone(0, group.directory)
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        except OSError as problem:
            self.missing |= dict.fromkeys(self.protections, str(problem))
            self.version, self.protections = 0, ()
        finally:
            group.close()
            self.give_back(group.number)

    def take(self) -> Group | None:
        """Return a group that nobody has used; None where this host has none.

        Raises:
            OSError: the launcher could not make one.
        """
        if not self.version:
            return None
        if not self._asked:
            self._ask()
        answer, fds = self._early or self._receive(MAX_FILES)
        self._asked, self._early = False, None
        if "failed" in answer:
            raise OSError(answer["failed"])
        self._ask()
        pairs = list(zip(answer["names"], fds, strict=True))
        files = {name: fd for name, fd in pairs if name != _JOIN}
        return Group(answer["number"], self.version, files, [fd for name, fd in pairs if name == _JOIN])

    def grant(self, group: Group | None, grant: Grant) -> list[int]:
        """Return mounts of what a job is granted, which its group then allows; for the caller to close.

        Raises:
            OSError: a device is not there, or was never to be granted; the text names it.
        """
        if not grant.places:
            return []
        if self._asked and self._early is None:  # answers come in the order of the requests
            self._early = self._receive(MAX_FILES)
        self._send({"grant": grant.to_json(), "number": group.number if group else 0})
        answer, fds = self._receive(MOST_PLACES)
        if "failed" in answer:
            raise OSError(answer["failed"])
        return fds

    def give_back(self, number: int) -> None:
        """Have a group removed whose job is dead."""
        self._send({"remove": number})

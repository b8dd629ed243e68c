"""The control groups of jobs: made, handed out and removed by the launcher, the only one of us who can see them.

A *keeper* has a directory of its own in each hierarchy, below the group that the agent itself is in, and makes one
group per job in there.  What the zygote gets is not the directory but its control files, opened: whoever holds those
can limit and watch one job, and reach nothing else.  Which kind of groups a host has is found out by making one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from edgesandbox import passing

PREFIX = "edgesandbox-"
# Major and minor numbers of null, zero, full, random and urandom: Linux's Documentation/admin-guide/devices.txt.
DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9))
# More than any machine runs jobs; a zygote that asks for more is not one of ours any more.
MOST_GROUPS = 4096
_REMOVE_WITHIN_S = 5.0
_ALL = ("cgroup_memory", "cgroup_pids", "cgroup_cpu", "cgroup_devices")

_READ, _WRITE = os.O_RDONLY, os.O_WRONLY
# What a job's supervisor calls a file, the file's name, and what for; names with a ? may be missing.
File = tuple[str, str, int]
V1_FILES: dict[str, tuple[File, ...]] = {
    "memory": (
        ("memory_limit", "memory.limit_in_bytes", _WRITE),
        ("swap_limit", "memory.memsw.limit_in_bytes?", _WRITE),
        ("memory_peak", "memory.max_usage_in_bytes", _READ),
        ("oom", "memory.oom_control", _READ),
    ),
    "pids": (("pids_limit", "pids.max", _WRITE),),
    "cpuacct": (("cpu", "cpuacct.usage", _READ),),
    "devices": (),
}
V2_FILES: tuple[File, ...] = (
    ("memory_limit", "memory.max", _WRITE),
    ("swap_limit", "memory.swap.max?", _WRITE),
    ("memory_peak", "memory.peak?", _READ),
    ("oom", "memory.events", _READ),
    ("pids_limit", "pids.max", _WRITE),
    ("cpu", "cpu.stat", _READ),
)
PROTECTS = {"memory": "cgroup_memory", "pids": "cgroup_pids", "cpuacct": "cgroup_cpu", "devices": "cgroup_devices"}


class Keeper(Protocol):
    """One way to have groups."""

    version: int
    protections: tuple[str, ...]
    missing: dict[str, str]

    def make(self, number: int) -> tuple[list[str], list[int]]:
        """Make a group; returns what its files are called and their descriptors, for the caller to close."""

    def remove(self, number: int) -> None:
        """Remove a group, and whatever is still in it."""

    def adopt(self, pid: int, uid: int) -> None:
        """Prepare for jobs that are cloned by process ``pid`` of user ``uid``."""

    def close(self) -> None:
        """Remove all groups."""


@dataclasses.dataclass(frozen=True)
class Mount:
    """A hierarchy: where it is mounted, and which of its groups this process is in."""

    kind: str  # "cgroup" or "cgroup2"
    controllers: frozenset[str]
    point: str
    own: str  # as a path below ``point``; empty for the top


def mounts(mountinfo: str, own_groups: str) -> Iterator[Mount]:
    """Read /proc/self/mountinfo and /proc/self/cgroup."""
    groups: dict[str, str] = {}
    for line in own_groups.splitlines():
        _number, names, path = line.split(":", 2)
        groups |= dict.fromkeys(names.split(","), path)
    for line in mountinfo.splitlines():
        front, _, back = line.partition(" - ")
        root, point = (_unescape(each) for each in front.split(" ")[3:5])
        kind, _source, options = back.split(" ")[:3]
        if kind in ("cgroup", "cgroup2"):
            controllers = frozenset(options.split(",")) if kind == "cgroup" else frozenset({""})
            path = next((groups[each] for each in sorted(controllers) if each in groups), "")
            yield Mount(kind, controllers, point, _below(path, root))


def _unescape(text: str) -> str:
    return text.encode().decode("unicode_escape").encode("latin-1").decode()


def _below(path: str, root: str) -> str:
    """Return ``path`` as seen from a mount whose top is ``root``; the top itself where it is not below it."""
    inside = path == root or path.startswith(root.rstrip("/") + "/")
    return path[len(root.rstrip("/")) :].strip("/") if inside else ""


class _Directory:
    """A directory in one hierarchy for all groups of this launcher, locked so that nobody takes it for abandoned."""

    def __init__(self, parent: Path) -> None:
        _sweep(parent)
        self.path = parent / f"{PREFIX}{os.getpid()}"
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        for child in (each for each in self.path.iterdir() if each.is_dir()):
            _remove(child)
        _remove(self.path)
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


def _remove(path: Path) -> None:
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
            time.sleep(0.001)
        else:
            return


def _kill(path: Path) -> None:
    with contextlib.suppress(OSError):
        if (path / "cgroup.kill").exists():
            _write(path / "cgroup.kill", "1")
            return
        for pid in (path / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    except OSError as problem:
        raise OSError(problem.errno, f"write {text} to {path}: {problem.strerror}") from None
    finally:
        os.close(fd)


def _open_files(directory: Path, files: Sequence[File]) -> tuple[list[str], list[int]]:
    names: list[str] = []
    fds: list[int] = []
    try:
        for role, name, mode in files:
            path = directory / name.rstrip("?")
            if name.endswith("?") and not path.exists():
                continue
            fds.append(os.open(path, mode))
            names.append(role)
    except BaseException:
        passing.close_all(fds)
        raise
    return names, fds


class V1:
    """Groups of version 1: a hierarchy for each controller, and jobs that join by their own word."""

    version = 1

    def __init__(self, found: Sequence[Mount]) -> None:
        """Make a directory in every hierarchy that lets us.

        Raises:
            OSError: there is none; the text says why.
        """
        self.missing: dict[str, str] = {}
        self._directories: dict[str, _Directory] = {}
        for controller, protection in PROTECTS.items():
            try:
                at = next(each for each in found if each.kind == "cgroup" and controller in each.controllers)
                self._directories[controller] = _Directory(Path(at.point, at.own))
                self._try(controller)
            except StopIteration:
                self.missing[protection] = f"no control groups of version 1 for {controller}"
            except OSError as problem:
                self.missing[protection] = str(problem)
                if controller in self._directories:
                    self._directories.pop(controller).close()
        if not self._directories:
            raise OSError(self.missing["cgroup_memory"])
        self.protections = tuple(PROTECTS[controller] for controller in self._directories)

    def _try(self, controller: str) -> None:
        """Have a process join a group."""
        try:
            names, fds = self._make(controller, 0)
            pid = os.fork()
            if pid == 0:
                try:
                    os.write(fds[names.index("join")], b"0")
                    os._exit(0)
                except OSError as problem:
                    os._exit(problem.errno or 1)
            passing.close_all(fds)
            error = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if error:
                raise OSError(error, f"join a {controller} control group: {os.strerror(error)}")
        finally:
            _remove(self._directories[controller].path / "0")

    def _make(self, controller: str, number: int) -> tuple[list[str], list[int]]:
        path = self._directories[controller].path / str(number)
        path.mkdir()
        if controller == "devices":
            _write(path / "devices.deny", "a")
            for major, minor in DEVICES:
                _write(path / "devices.allow", f"c {major}:{minor} rw")
        return _open_files(path, (("join", "cgroup.procs", _WRITE), *V1_FILES[controller]))

    def make(self, number: int) -> tuple[list[str], list[int]]:
        """Make a group in each hierarchy."""
        names: list[str] = []
        fds: list[int] = []
        try:
            for controller in self._directories:
                more_names, more_fds = self._make(controller, number)
                names += more_names
                fds += more_fds
        except BaseException:
            passing.close_all(fds)
            self.remove(number)
            raise
        return names, fds

    def remove(self, number: int) -> None:
        """Remove a group from each hierarchy."""
        for directory in self._directories.values():
            _remove(directory.path / str(number))

    def adopt(self, pid: int, uid: int) -> None:
        """Nothing: jobs join by themselves."""

    def close(self) -> None:
        """Remove all groups."""
        for directory in self._directories.values():
            directory.close()


def find() -> tuple[Keeper | None, dict[str, str]]:
    """Return a keeper, if this host lets us have one, and why each protection that it cannot give is missing."""
    text = Path("/proc/self/mountinfo").read_text()
    found = list(mounts(text, Path("/proc/self/cgroup").read_text()))
    try:
        keeper = V1(found)
    except OSError as problem:
        return None, dict.fromkeys(_ALL, f"no control groups for jobs ({problem}); {ADVICE}")
    return keeper, {name: f"{why}; {ADVICE}" for name, why in keeper.missing.items()}


ADVICE = "start as root, or by systemd with Delegate=yes"


def greeting(keeper: Keeper | None, missing: dict[str, str]) -> dict[str, Any]:
    """Return what the zygote is told first."""
    if keeper is None:
        return {"version": 0, "protections": [], "missing": missing}
    return {"version": keeper.version, "protections": keeper.protections, "missing": missing}


def serve(sock: socket.socket, keeper: Keeper) -> None:
    """Make and remove groups as the zygote asks, until it is gone; then remove them all."""
    number = 0
    alive: set[int] = set()
    while (request := passing.receive(sock)[0]) is not None:
        if "remove" in request:
            alive.discard(request["remove"])
            keeper.remove(request["remove"])
            continue
        number += 1
        answer: dict[str, Any] = {"number": number}
        fds: list[int] = []
        try:
            answer["names"], fds = _make(keeper, number, alive)
        except OSError as problem:
            answer = {"failed": f"control group: {problem}"}
        with contextlib.suppress(OSError):  # gone; the next receive says so
            passing.send(sock, answer, fds)
        passing.close_all(fds)


def _make(keeper: Keeper, number: int, alive: set[int]) -> tuple[list[str], list[int]]:
    if len(alive) >= MOST_GROUPS:
        raise OSError("there are too many")
    made = keeper.make(number)
    alive.add(number)
    return made

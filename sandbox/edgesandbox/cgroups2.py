"""Control groups of version 2: one hierarchy, and jobs that are born in their group.

The groups are made in the group that the agent is in, where that is ours (a service with ``Delegate=yes``), or at the
top of the hierarchy where we are root.  Groups that hold others may hold no process, so the agent and whoever is with
it move into a leaf of their own first.  Called by ``cgroups.find`` only.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgesandbox import cores, devicefilter, passing
from edgesandbox.cgroupfs import DEVICES, READ, WRITE, Directory, File, open_files, remove, write
from edgesandbox.mounts import Mount

_FILES: tuple[File, ...] = (
    ("memory_limit", "memory.max", WRITE),
    ("swap_limit", "memory.swap.max?", WRITE),
    ("memory_peak", "memory.peak?", READ),
    ("oom", "memory.events", READ),
    ("pids_limit", "pids.max", WRITE),
    ("cpu", "cpu.stat", READ),
)
_CONTROLLERS = ("memory", "pids")  # processor time is counted without one
_LEAF = "edgesandbox.agent"


class V2:
    """Makes groups that are cloned into."""

    version = 2

    def __init__(self, found: Sequence[Mount], limit: float | None = None) -> None:
        """Find a place for the groups; ``limit``: processors for all jobs together.

        Raises:
            OSError: there is none; the text says why.
        """
        at = next((each for each in found if each.kind == "cgroup2"), None)
        if at is None:
            raise OSError("no control groups of version 2")
        self._uid: int | None = None
        self._program: int | None = None
        self.missing: dict[str, str] = {}
        problems = []
        for base in _candidates(at):
            try:
                self._settle(base)
                self._limit_cores(base, limit)
                break
            except OSError as problem:
                problems.append(f"{at.point}: {problem.strerror or problem}")
        else:
            raise OSError(problems[0])
        self.protections: tuple[str, ...] = ("cgroup_memory", "cgroup_pids", "cgroup_cpu")
        if "cgroup_devices" not in self.missing:
            self.protections += ("cgroup_devices",)
        if limit is not None and cores.QUOTA not in self.missing:
            self.protections += (cores.QUOTA,)

    def _settle(self, base: Path) -> None:
        self._directory = Directory(base)
        try:
            _enable(base, _CONTROLLERS)
            write(self._directory.path / "cgroup.subtree_control", _plus(_CONTROLLERS))
            self._supervisors = self._directory.path / "supervisors"
            self._supervisors.mkdir()
            try:
                self._program = devicefilter.load(DEVICES)
            except OSError as problem:
                self.missing["cgroup_devices"] = str(problem.strerror or problem)
            _names, fds = self.make(0)
            passing.close_all(fds)
            self.remove(0)
        except BaseException:
            self.close()
            raise

    def _limit_cores(self, base: Path, limit: float | None) -> None:
        if limit is None:
            return
        try:
            _enable(base, ("cpu",))
            cores.limit_v2(self._directory.path, limit)
        except OSError as problem:
            self.missing[cores.QUOTA] = str(problem.strerror or problem)

    def make(self, number: int) -> tuple[list[str], list[int]]:
        """Make a group to clone into.

        ``memory.oom.group`` stays 0: the supervisor is in the group too, and is to report what happened.
        """
        path = self._directory.path / str(number)
        path.mkdir()
        fds: list[int] = []
        try:
            directory = os.open(path, os.O_PATH | os.O_DIRECTORY)
            fds.append(directory)
            if self._uid is not None:
                os.chown(path / "cgroup.procs", self._uid, -1)
            if self._program is not None:
                _attach(path, self._program)
            names, more = open_files(path, _FILES)
        except BaseException:
            passing.close_all(fds)
            self.remove(number)
            raise
        return ["directory", *names], [*fds, *more]

    def allow(self, number: int, devices: Sequence[tuple[int, int]]) -> None:
        """Put a program that allows further devices in the place of the one that all groups have."""
        if self._program is None:
            return
        program = devicefilter.load((*DEVICES, *devices))
        try:
            _attach(self._directory.path / str(number), program, instead_of=self._program)
        finally:
            os.close(program)

    def remove(self, number: int) -> None:
        """Remove a group, and kill who is still in it."""
        remove(self._directory.path / str(number))

    def adopt(self, pid: int, uid: int) -> None:
        """Let process ``pid`` of user ``uid`` clone into groups: it needs to own what joins both ends of the way."""
        if uid != os.geteuid():
            self._uid = uid
            os.chown(self._directory.path / "cgroup.procs", uid, -1)
        write(self._supervisors / "cgroup.procs", str(pid))

    def close(self) -> None:
        """Remove all groups."""
        if self._program is not None:
            os.close(self._program)
            self._program = None
        self._directory.close()


def _attach(path: Path, program: int, *, instead_of: int | None = None) -> None:
    group = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        devicefilter.attach(program, group)
        if instead_of is not None:  # until then both are asked, and what one refuses is refused
            devicefilter.detach(instead_of, group)
    finally:
        os.close(group)


def _candidates(at: Mount) -> Iterator[Path]:
    """Yield the groups that ours may be made in, best first."""
    own = Path(at.point, at.own)
    if own.name == _LEAF:
        own = own.parent
    if os.geteuid() != 0 or _delegated(own):
        yield own
    if os.geteuid() == 0:
        yield Path(at.point)


def _delegated(group: Path) -> bool:
    """Say whether systemd has left a group to whoever runs in it."""
    for name in ("trusted.delegate", "user.delegate"):
        with contextlib.suppress(OSError):
            return os.getxattr(group, name) == b"1"
    return False


def _plus(controllers: Sequence[str]) -> str:
    return " ".join(f"+{each}" for each in controllers)


def _enable(base: Path, controllers: Sequence[str]) -> None:
    """Have the kernel offer these controllers to the groups in ``base``; moves processes in the way into a leaf.

    Raises:
        OSError: a controller is not there, or somebody else's processes are in the way.
    """
    there = (base / "cgroup.controllers").read_text().split()
    lacking = [each for each in controllers if each not in there]
    if lacking:
        raise OSError(f"no {' and no '.join(lacking)} controller here")
    enabled = (base / "cgroup.subtree_control").read_text().split()
    wanted = [each for each in controllers if each not in enabled]
    if not wanted:
        return
    for _ in range(5):  # somebody may fork meanwhile
        try:
            write(base / "cgroup.subtree_control", _plus(wanted))
        except OSError as problem:
            if problem.errno != errno.EBUSY:
                raise
        else:
            return
        (base / _LEAF).mkdir(exist_ok=True)
        for pid in (base / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                write(base / _LEAF / "cgroup.procs", pid)
    raise OSError(errno.EBUSY, f"processes keep coming into {base}")

"""Control groups of version 1: a hierarchy for each controller, and jobs that join by their own word.

Called by ``cgroups.find`` only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgesandbox import cores, passing
from edgesandbox.cgroupfs import DEVICES, READ, WRITE, Directory, File, open_files, remove, write
from edgesandbox.mounts import Mount

_FILES: dict[str, tuple[File, ...]] = {
    "memory": (
        ("memory_limit", "memory.limit_in_bytes", WRITE),
        ("swap_limit", "memory.memsw.limit_in_bytes?", WRITE),
        ("memory_peak", "memory.max_usage_in_bytes", READ),
        ("oom", "memory.oom_control", READ),
    ),
    "pids": (("pids_limit", "pids.max", WRITE),),
    "cpuacct": (("cpu", "cpuacct.usage", READ),),
    "cpu": (),
    "devices": (),
}
_PROTECTS = {"memory": "cgroup_memory", "pids": "cgroup_pids", "cpuacct": "cgroup_cpu", "devices": "cgroup_devices"}
_NONE = "no control groups of version 1 for {}"


class V1:
    """Groups of version 1: a hierarchy for each controller, and jobs that join by their own word."""

    version = 1

    def __init__(self, found: Sequence[Mount], limit: float | None = None) -> None:
        """Make a directory in every hierarchy that lets us; ``limit``: processors for all jobs together.

        Raises:
            OSError: there is none; the text says why.
        """
        self.missing: dict[str, str] = {}
        self._directories: dict[str, Directory] = {}
        for controller, protection in _PROTECTS.items():
            at = _mount(found, controller)
            if at is None:
                self.missing[protection] = _NONE.format(controller)
                continue
            try:
                self._directories[controller] = Directory(Path(at.point, at.own))
                self._try(controller)
            except OSError as problem:
                self.missing[protection] = f"{at.point}: {problem.strerror or problem}"
                if controller in self._directories:
                    self._directories.pop(controller).close()
        if not self._directories:
            raise OSError(self.missing["cgroup_memory"])
        self.protections = tuple(_PROTECTS[controller] for controller in self._directories)
        if limit is not None:
            self._limit_cores(_mount(found, "cpu"), limit)

    def _limit_cores(self, at: Mount | None, limit: float) -> None:
        if at is None:
            self.missing[cores.QUOTA] = _NONE.format("cpu")
            return
        parent = Path(at.point, at.own)
        shared = [each for each in self._directories.values() if each.path.parent == parent]  # cpu,cpuacct
        try:
            if not shared:
                self._directories["cpu"] = Directory(parent)
                self._try("cpu")
            cores.limit_v1((shared or [self._directories["cpu"]])[0].path, limit)
        except OSError as problem:
            self.missing[cores.QUOTA] = f"{at.point}: {problem.strerror or problem}"
            if "cpu" in self._directories:
                self._directories.pop("cpu").close()
        else:
            self.protections += (cores.QUOTA,)

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
            remove(self._directories[controller].path / "0")

    def _make(self, controller: str, number: int) -> tuple[list[str], list[int]]:
        path = self._directories[controller].path / str(number)
        path.mkdir()
        if controller == "devices":
            write(path / "devices.deny", "a")
            for major, minor in DEVICES:
                write(path / "devices.allow", f"c {major}:{minor} rw")
        return open_files(path, (("join", "cgroup.procs", WRITE), *_FILES[controller]))

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

    def allow(self, number: int, devices: Sequence[tuple[int, int]]) -> None:
        """Let a group open further character devices, where there is a hierarchy for that."""
        if "devices" in self._directories:
            for major, minor in devices:
                write(self._directories["devices"].path / str(number) / "devices.allow", f"c {major}:{minor} rw")

    def remove(self, number: int) -> None:
        """Remove a group from each hierarchy."""
        for directory in self._directories.values():
            remove(directory.path / str(number))

    def adopt(self, pid: int, uid: int) -> None:
        """Nothing: jobs join by themselves."""

    def close(self) -> None:
        """Remove all groups."""
        for directory in self._directories.values():
            directory.close()


def _mount(found: Sequence[Mount], controller: str) -> Mount | None:
    return next((each for each in found if each.kind == "cgroup" and controller in each.controllers), None)

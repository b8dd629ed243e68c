"""The zygote of a host that has no namespaces to give: tier C, for operators who allow it.

A fresh, isolated interpreter with no secret, as the other zygote, but in the host's own tree and among its processes:
Landlock and the system call filter are the only walls, so it refuses to start where one of them is missing.  It forks
one supervisor per request, buries them, and kills the group of any that was killed itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import signal
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from edgesandbox import (
    confine,
    cores,
    disks,
    identity,
    landlock,
    linux,
    networks,
    passing,
    protections,
    root,
    seccomp,
    tierc_files,
    tierc_init,
    tree,
)
from edgesandbox.binds import Bind
from edgesandbox.errors import SandboxUnavailable
from edgesandbox.job import Entry, Waiting
from edgesandbox.spec import Spec
from edgesandbox.tierc_wall import Wall
from edgesandbox.zygote import prepare

# Enough for root to give each job a user of its own.
_NEEDED = (linux.CAP_CHOWN, linux.CAP_DAC_OVERRIDE, linux.CAP_KILL, linux.CAP_SETGID, linux.CAP_SETUID)


def main(fd: int) -> NoReturn:
    """Import what jobs will need, say so on socket ``fd``, and serve requests until the agent is gone."""
    control = socket.socket(fileno=fd)
    linux.close_all_except([0, 1, 2, fd])
    try:
        message, _ = passing.receive(control, max_bytes=passing.MAX_BYTES)
        wanted, _ = passing.receive(control, max_bytes=passing.MAX_BYTES)
        if message is None or wanted is None:
            os._exit(0)
        os.setsid()
        linux.new_session_keyring()
        confine.refuse_core_dumps()
        os.umask(0o022)
        host = find_host(message)
        entry = prepare(wanted)
        if message["cores"] is not None:
            cores.keep_to(message["cores"])
        base = _make_base(message["scratch_directory"], host)
    except SandboxUnavailable as problem:
        passing.send(control, {"unavailable": str(problem)})
        os._exit(1)
    except OSError as problem:
        passing.send(control, {"unavailable": f"tier C is not possible either: {problem}"})
        os._exit(1)
    linux.set_dumpable(False)
    linux.adopt_orphans()
    null = os.open("/dev/null", os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
    passing.send(control, {"ready": True, "base": base.path, "shelf": str(host.shelf) if host.shelf else None})
    Nursery(control, entry, host, Path(base.path)).serve()
    base.remove()
    os._exit(0)


def _make_base(where: str | None, host: tierc_init.Host) -> disks.Base:
    """Make the directory for jobs' files in ``where``, or else where temporary files are.

    Raises:
        SandboxUnavailable: that cannot be done, or jobs could not get there.
    """
    base = disks.make_base(where or tempfile.gettempdir(), 0)
    if host.separate_ids and _closed_to_others([base.path], os.X_OK):
        base.remove()
        raise SandboxUnavailable(
            f"started by root, jobs of tier C run as another user, who may not enter {where}: name a directory "
            "that everybody may pass through (chmod o+x, and all above it)"
        )
    return base


def find_host(message: dict[str, Any]) -> tierc_init.Host:
    """Find out what this host can enforce.

    Raises:
        SandboxUnavailable: too little.
    """
    version = landlock.abi()
    if not version:
        raise SandboxUnavailable(
            "this host cannot confine jobs at all: it gives neither namespaces nor Landlock, without which a job could "
            "read the agent's files (Landlock needs Linux 5.13 and landlock in the lsm= list)"
        )
    if platform.machine() not in seccomp.ARCHES:
        raise SandboxUnavailable(
            f"this host cannot confine jobs at all: it gives no namespaces, and {protections.MISSING['seccomp']}"
        )
    separate = os.geteuid() == 0 and linux.has_capabilities(_NEEDED)
    if os.geteuid() == 0 and not separate:
        raise SandboxUnavailable(
            "root without its capabilities would run jobs as the host's root: start as an ordinary user "
            "(in a container: --user 1000:1000)"
        )
    if message["network"] == networks.HOST:
        raise SandboxUnavailable("the host's network is not to be had in tier C, which denies every socket")
    asked = [Bind(**each) for each in message["binds"]]
    plan = root.plan(message["import_paths"], message["read_only"], message["hidden"], asked)
    wall = Wall.plan(version, plan)
    if separate and (closed := _closed_to_others(wall.readable, os.R_OK)):
        raise SandboxUnavailable(
            f"started by root, jobs of tier C run as another user, who may not read {closed}: install Python "
            "and the jobs' modules where everybody may read them, or start as an ordinary user"
        )
    limited = message["cores"] is not None
    enforced, not_enforced = protections.without_namespaces(separate_ids=separate, cores=limited)
    shelf = message["shelf"]
    if shelf is not None and separate and _closed_to_others([shelf], os.X_OK):
        shelf = None
    return tierc_init.Host(wall, separate, enforced, not_enforced, shelf and Path(shelf), limited)


def _closed_to_others(paths: Iterable[str], right: int) -> str | None:
    """Return the first of these on which another user has not this right of ``os.access``; None where there is none."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(identity.UNUSED_FIRST, identity.UNUSED_FIRST, identity.UNUSED_FIRST)
            os.setresuid(identity.UNUSED_FIRST, identity.UNUSED_FIRST, identity.UNUSED_FIRST)
            closed = [path for path in paths if not os.access(path, right)]
            os.write(write, json.dumps(closed[:1]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        first: list[str] = json.loads(answer.read() or '["anything"]')
    os.waitpid(pid, 0)
    return first[0] if first else None


def _check(spec: Spec, host: tierc_init.Host) -> Spec:
    """Return a spec that tier C can keep.

    Raises:
        ValueError: it cannot; the text says why.
    """
    if spec.without:
        raise ValueError(f"tier C has no protection to spare: {', '.join(spec.without)} cannot be left out")
    if spec.grant:
        raise ValueError("devices cannot be granted in tier C: it has nothing to keep them from other jobs by")
    if spec.inputs is not None and host.shelf is None:
        raise ValueError("there is no shelf to give inputs from, or none that jobs of tier C could reach")
    return spec


class Nursery:
    """The jobs that are alive, and the ids they have."""

    def __init__(self, control: socket.socket, entry: Entry | Waiting, host: tierc_init.Host, base: Path) -> None:
        """Serve requests that arrive on ``control``; jobs live below ``base``."""
        self._control = control
        self._entry = entry
        self._host = host
        self._base = base
        self._made = 0
        self._alive: dict[int, Path] = {}  # directories by the supervisor's pid
        self._lifeline, self._held = os.pipe()
        extents = identity.parse_map(Path("/proc/self/uid_map").read_text())
        self._ids = identity.choose(extents, os.getpid()) if host.separate_ids else None

    def serve(self) -> None:
        """Fork on request and reap, until the agent closes its end; then until all of them have ended."""
        linux.block_signals([signal.SIGCHLD])  # in every child too, until it becomes the job
        children = linux.signal_descriptor(signal.SIGCHLD)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(children, select.POLLIN)
        while self._alive or self._held >= 0:
            ready = [fd for fd, _event in poll.poll()]
            if children in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(children, 4096)
                self._reap()
            if self._control.fileno() in ready:
                request, fds = passing.receive(self._control, max_fds=5)
                if request is None:
                    poll.unregister(self._control)
                    os.close(self._held)  # every supervisor sees that, and ends
                    self._held = -1
                else:
                    self._spawn(request, fds)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                home = self._alive.pop(ended[0], None)
                if home is None:  # left to us by a supervisor that was killed, or by an import
                    continue
                if ended[1]:
                    self._kill_orphans()
                tierc_files.remove(home)

    def _kill_orphans(self) -> None:
        """End the groups of processes that have become ours: their supervisor was killed by something outside."""
        for pid in tree.pids():
            fields = tree.read_stat(pid)
            if fields and int(fields[1]) == os.getpid() and int(pid) not in self._alive:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(int(fields[2]), signal.SIGKILL)

    def _spawn(self, request: dict[str, Any], fds: list[int]) -> None:
        self._made += 1
        try:
            spec = _check(Spec.from_json(request), self._host)
            user = self._free_id()
            home = tierc_files.make_home(self._base, self._made, user)
            task = tierc_init.Task(spec, spec.entry or self._entry, user, home)
            pid = os.fork()
            if pid == 0:
                self._become_supervisor(task, fds)
            self._alive[pid] = home
        except (OSError, ValueError, TypeError, KeyError) as problem:
            if len(fds) == 5:
                with socket.socket(fileno=os.dup(fds[1])) as control:
                    passing.send(control, {"failed": str(problem)})
        finally:
            passing.close_all(fds)

    def _become_supervisor(self, task: tierc_init.Task, fds: list[int]) -> NoReturn:
        """Be the supervisor; whatever happens, it must not come back as a second zygote."""
        try:
            self._control.close()
            os.close(self._held)
            tierc_init.main(task, fds, self._host, self._lifeline)
        finally:
            os._exit(1)

    def _free_id(self) -> int | None:
        """Return an id that no other job has; there are more than a zygote's jobs in flight."""
        return None if self._ids is None else self._ids.first + self._made % self._ids.count

"""The zygote: holds the imported modules and forks one single-use sandbox per request.

PID 1 of its own namespaces, in the file tree that jobs see, single-threaded, and without any secret: whatever a job
inherits from it may be read by strangers.  It does nothing but fork and reap.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

from edgesandbox import features, identity, init, job, linux, passing, root
from edgesandbox.errors import SandboxUnavailable
from edgesandbox.launcher import write_map
from edgesandbox.networks import Networks
from edgesandbox.spec import Spec


def main(fd: int) -> NoReturn:
    """Import what jobs will need, say so on socket ``fd``, and serve requests until the agent is gone."""
    linux.die_with_parent()
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    try:
        message, _ = passing.receive(control, max_bytes=passing.MAX_BYTES)
        if message is None:
            os._exit(0)
        entry = prepare(message)
    except SandboxUnavailable as problem:
        passing.send(control, {"unavailable": str(problem)})
        os._exit(1)
    passing.send(control, {"ready": True})
    null = os.open("/dev/null", os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
    Nursery(control, entry).serve()
    os._exit(0)


def prepare(message: dict[str, Any]) -> job.Entry:
    """Import the modules that every job starts with; returns the entry function.

    Raises:
        SandboxUnavailable: a path is unreadable, or a module is missing, broken, or starts threads (a fork would copy
            only one of them).
    """
    sys.dont_write_bytecode = True
    for path in (*message["import_paths"], *message["read_only"]):
        if not os.access(path, os.R_OK):
            raise SandboxUnavailable(f"jobs run as another user, who may not read {path}; type: chmod -R o+rX {path}")
    sys.path += message["import_paths"]
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    module = str(message["entry"]).partition(":")[0]
    for name in (*message["preload"], module):
        try:
            importlib.import_module(name)
        except Exception as problem:
            raise SandboxUnavailable(
                f"cannot import {name} inside the sandbox: {type(problem).__name__}: {problem}"
            ) from problem
        threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names only
        if threads != 1:
            raise SandboxUnavailable(
                f"importing {name} started {threads - 1} threads, so it cannot be imported ahead of the jobs: "
                "leave it out of preload, or set what keeps it single-threaded (such as OPENBLAS_NUM_THREADS=1)"
            )
    try:
        entry = job.load_entry(message["entry"])
    except AttributeError as problem:
        raise SandboxUnavailable(f"no entry {message['entry']}: {problem}") from problem
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    root.covered_mounts()  # remembered for every fork
    gc.collect()
    gc.freeze()
    linux.collapse_heap()
    return entry


class Nursery:
    """The jobs that are alive, and the ids they have."""

    def __init__(self, control: socket.socket, entry: job.Entry) -> None:
        """Serve requests that arrive on ``control``."""
        self._control = control
        self._entry = entry
        extents = identity.parse_map(_read("/proc/self/uid_map"))
        self._last_id = extents[0][2] - 1  # inside ids are 0 (this process) to this one; 0 when there is only one
        self._next_id = 1
        self._features = features.detect(separate_ids=self._last_id > 0)
        self._alive: dict[int, tuple[int, int]] = {}  # pid of a namespace's init -> its job's user and network
        self._networks = Networks()

    def serve(self) -> None:
        """Fork on request and reap, until the agent closes its end."""
        linux.block_signals([signal.SIGCHLD])  # in every child too, until it becomes the job
        children = linux.signal_descriptor(signal.SIGCHLD)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(children, select.POLLIN)
        while True:
            ready = [fd for fd, _event in poll.poll()]
            if children in ready:
                os.read(children, 4096)
                self._reap()
            if self._control.fileno() in ready:
                request, fds = passing.receive(self._control, max_fds=5)
                if request is None:
                    return
                self._spawn(request, fds)

    def _reap(self) -> None:
        while self._alive:
            pid, _status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            # The init of a PID namespace is buried only after everybody in it.
            if pid in self._alive:  # and not what an import started
                _user, network = self._alive.pop(pid)
                self._networks.give_back(network)

    def _free_id(self) -> int:
        """Return an id that no living job has; 0, ours, where there is no other."""
        if not self._last_id:
            return 0
        taken = {user for user, _network in self._alive.values()}
        while self._next_id in taken:
            self._next_id = self._next_id % self._last_id + 1
        chosen = self._next_id
        self._next_id = self._next_id % self._last_id + 1
        return chosen

    def _spawn(self, request: dict[str, Any], fds: list[int]) -> None:
        mapped_read, mapped_write = os.pipe()
        try:
            spec = Spec.from_json(request)
            user = self._free_id()
            network = self._networks.enter()
            try:
                pid = linux.clone(init.NAMESPACES)
            except OSError:
                self._networks.give_back(network)
                raise
            if pid == 0:
                self._become_init(spec, fds, mapped_read, mapped_write)
            self._alive[pid] = user, network
            for kind in ("uid", "gid"):
                write_map(pid, kind, identity.JOB_ID, user, 1)
            os.write(mapped_write, b"1")
        except (OSError, ValueError, TypeError, KeyError) as problem:
            self._refuse(fds, str(problem))
        finally:
            passing.close_all([mapped_read, mapped_write, *fds])

    def _become_init(self, spec: Spec, fds: list[int], mapped: int, unused: int) -> NoReturn:
        """Be the clone; whatever happens, it must not come back as a second zygote."""
        try:
            os.close(unused)
            self._control.close()
            init.main(spec, spec.entry or self._entry, fds, mapped, self._features)
        finally:
            os._exit(1)

    def _refuse(self, fds: list[int], problem: str) -> None:
        """Tell the agent, over the control socket that was meant for the sandbox's supervisor."""
        if len(fds) == 5:
            with socket.socket(fileno=os.dup(fds[1])) as control:
                passing.send(control, {"failed": problem})


def _read(path: str) -> str:
    with open(path) as file:  # noqa: PTH123 - as small as it gets
        return file.read()

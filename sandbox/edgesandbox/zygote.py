"""The zygote: holds the imported modules and forks one single-use sandbox per request.

PID 1 of its own namespaces, in the file tree that jobs see, single-threaded, and without any secret: whatever a job
inherits from it may be read by strangers.  It does nothing but fork and reap.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

from edgesandbox import confine, cores, features, identity, init, job, linux, passing, root
from edgesandbox.disks import Disk, Disks
from edgesandbox.errors import SandboxUnavailable
from edgesandbox.group import MAX_FILES, Group, Groups, LauncherGone
from edgesandbox.networks import HOST, Networks
from edgesandbox.prepare import Prepared, Preparer
from edgesandbox.report import Ending, Outcome
from edgesandbox.spec import Spec


def main(fd: int, groups_fd: int) -> NoReturn:
    """Import what jobs will need, say so on socket ``fd``, and serve requests until the agent is gone.

    The other socket leads to the launcher, which makes the control groups.
    """
    linux.die_with_parent()
    control, groups_sock = socket.socket(fileno=fd), socket.socket(fileno=groups_fd)
    for sock in (control, groups_sock):
        sock.set_inheritable(False)
    try:
        message, _ = passing.receive(control, max_bytes=passing.MAX_BYTES)
        if message is None:
            os._exit(0)
        entry = prepare(message)
        confine.refuse_core_dumps()  # as the launcher has; what was imported may have changed it
        children = linux.signal_descriptor(signal.SIGCHLD)
    except (SandboxUnavailable, OSError) as problem:
        passing.send(control, {"unavailable": str(problem)})
        os._exit(1)
    try:
        groups = Groups(groups_sock)
        groups.check()
        if message["cores"] is not None and cores.QUOTA not in groups.protections:
            cores.keep_to(message["cores"])
        passing.send(control, {"ready": True})
        null = os.open("/dev/null", os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)
        Nursery(control, entry, groups, message).serve(children)
    except LauncherGone:
        # The kernel is about to end this process for that, but whoever asks for a job until then would be put off.
        control.close()
    os._exit(0)


def prepare(message: dict[str, Any]) -> job.Entry | job.Waiting:
    """Import the modules that every job starts with; returns the entry function.

    Raises:
        SandboxUnavailable: a path is unreadable, or a module is missing, broken, or starts threads (a fork would copy
            only one of them).
    """
    sys.dont_write_bytecode = True
    for path in (*message["import_paths"], *message["read_only"], *message["binds"]):
        if not os.access(path, os.R_OK):
            raise SandboxUnavailable(f"jobs run as another user, who may not read {path}; type: chmod -R o+rX {path}")
    sys.path += message["import_paths"]
    _expect_signals()
    module = str(message["entry"]).partition(":")[0]
    for name in (*message["preload"], module):
        try:
            importlib.import_module(name)
        except Exception as problem:
            raise SandboxUnavailable(
                f"cannot import {name} inside the sandbox: {type(problem).__name__}: {problem}"
            ) from problem
        threads = len(os.listdir("/proc/self/task"))
        if threads != 1:
            raise SandboxUnavailable(
                f"importing {name} started {threads - 1} threads, so it cannot be imported ahead of the jobs: "
                "leave it out of preload, or set what keeps it single-threaded (such as OPENBLAS_NUM_THREADS=1)"
            )
    try:
        entry = job.load(message["entry"], waits=message["waits"])
    except AttributeError as problem:
        raise SandboxUnavailable(f"no entry {message['entry']}: {problem}") from problem
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    root.covered_mounts()  # remembered for every fork
    gc.collect()
    gc.freeze()
    linux.collapse_heap()
    return entry


def _expect_signals() -> None:
    """Ignore no signal because whoever started the agent does, as a shell has SIGQUIT ignored in the background.

    Those that Python itself ignores stay so; a job that becomes a program undoes that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@dataclasses.dataclass
class Clone:
    """A namespace's init, and what the zygote keeps for it.

    Attributes:
        user: the id its job has.
        network: the network namespace it is in, where that is used again.
        group: its control group; only the number and the file that tells of a lack of memory are kept.
        order: where one that was cloned ahead waits for its spec and descriptors.
        control: a copy of its own way to the agent, for a last word should it be killed for lack of memory.
        told: what it was told to run.
        disk: its scratch, where that is on disk.
    """

    user: int
    network: int | None
    group: Group | None
    order: socket.socket | None = None
    control: socket.socket | None = None
    told: Prepared | None = None
    disk: Disk | None = None


class Nursery:
    """The jobs that are alive, and the ids they have."""

    def __init__(
        self, control: socket.socket, entry: job.Entry | job.Waiting, groups: Groups, message: dict[str, Any]
    ) -> None:
        """Serve requests that arrive on ``control``, as the agent's first message says."""
        self._ahead = message["ahead"]
        self._control = control
        self._entry = entry
        self._groups = groups
        extents = identity.parse_map(_read("/proc/self/uid_map"))
        self._last_id = extents[0][2] - 1  # inside ids are 0 (this process) to this one; 0 when there is only one
        self._next_id = 1
        self._preparer = Preparer(
            features.detect(
                separate_ids=self._last_id > 0,
                cgroups=groups.protections,
                reasons=groups.missing,
                host_network=message["network"] == HOST,
                writable=tuple(message["writable"]),
                on_disk=message["on_disk"],
                shelved=message["shelved"],
                limited_cores=message["cores"] is not None,
            )
        )
        self._preparer.prepare(json.dumps(Spec().to_json()).encode())
        self._alive: dict[int, Clone] = {}  # by pid
        self._spares: list[int] = []  # of these, cloned ahead
        self._networks = Networks(message["network"])
        self._poll = select.poll()
        self._disks = Disks(self._poll, on_disk=message["on_disk"])

    def serve(self, children: int) -> None:
        """Fork on request and reap, until the agent closes its end; ``children`` tells of SIGCHLD."""
        linux.block_signals([signal.SIGCHLD])  # in every child too, until it becomes the job
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(children, select.POLLIN)
        while True:
            self._clone_ahead()
            ready = [fd for fd, _event in self._poll.poll()]
            self._disks.notice(ready)
            if children in ready:
                os.read(children, 4096)
                self._reap()
            if self._control.fileno() in ready:
                request, fds = passing.receive_bytes(self._control, max_fds=5)
                if not request:
                    return
                self._spawn(request, fds)

    def _reap(self) -> None:
        while self._alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            # The init of a PID namespace is buried only after everybody in it.
            if pid in self._alive:  # and not what an import started
                self._bury(self._alive.pop(pid), status)
            if pid in self._spares:
                self._spares.remove(pid)

    def _bury(self, clone: Clone, status: int) -> None:
        """Give back what a dead sandbox had; speak for one that could not."""
        self._networks.give_back(clone.network)
        self._disks.give_back(clone.disk)
        if clone.group is not None:
            if status and clone.control is not None and clone.told is not None:
                self._speak_for(clone.control, clone.told, clone.group)
            clone.group.close()
            self._groups.give_back(clone.group.number)
        for sock in (clone.order, clone.control):
            if sock is not None:
                sock.close()

    def _speak_for(self, control: socket.socket, told: Prepared, group: Group) -> None:
        """Report for a supervisor that the kernel killed for its job's use of memory: the sandbox has not failed."""
        if not group.out_of_memory(told.spec.limits.memory_bytes):
            return
        ending = Ending(
            status=signal.SIGKILL,
            stopped_for=Outcome.MEMORY_LIMIT,
            detail="the kernel ended the whole sandbox for lack of memory",
            cpu_s=group.cpu_s() or 0.0,
            memory_peak_bytes=group.peak_bytes(),
            memory_source=group.peak_source,
        )
        with contextlib.suppress(OSError):  # the agent is not there any more
            passing.send_bytes(control, ending.pack() + told.account)

    def _free_id(self) -> int:
        """Return an id that no living job has; 0, ours, where there is no other."""
        if not self._last_id:
            return 0
        taken = {clone.user for clone in self._alive.values()}
        if len(taken) >= self._last_id:
            raise OSError(f"there are {len(taken)} jobs at once, and no user id is left for another")
        while self._next_id in taken:
            self._next_id = self._next_id % self._last_id + 1
        chosen = self._next_id
        self._next_id = self._next_id % self._last_id + 1
        return chosen

    def _spawn(self, request: bytes, fds: list[int]) -> None:
        try:
            told = self._preparer.prepare(request)
            clone = None
            if not told.spec.grant:  # a group that waits is not changed: the next job may get it
                clone = self._hand_over(request, fds)
            if clone is None:
                clone = self._alive[self._clone((told, fds))]
            if clone.group is not None:
                clone.control = passing.adopt(os.dup(fds[1]))
                clone.told = told
        except (OSError, ValueError, TypeError, KeyError) as problem:
            self._refuse(fds, str(problem))
        finally:
            passing.close_all(fds)

    def _hand_over(self, request: bytes, fds: list[int]) -> Clone | None:
        """Give the work to a clone that waits for some; None where there is none, or none that is alive."""
        while self._spares:
            clone = self._alive[self._spares.pop(0)]
            assert clone.order is not None
            with clone.order as order:
                clone.order = None
                try:
                    passing.send_bytes(order, request, fds)
                except ConnectionError:  # killed by something outside, and not buried yet
                    continue
                return clone
        return None

    def _clone_ahead(self) -> None:
        """Have some clones in their control groups before there is work for them: see ``Group.join``."""
        while self._groups.version == 1 and len(self._spares) < self._ahead:
            try:
                self._spares.append(self._clone(None))
            except OSError:  # the next request tries again, and says so
                return

    def _clone(self, work: tuple[Prepared, list[int]] | None) -> int:
        """Clone an init with work to do, or one that waits for it; returns its pid."""
        mapped_read, mapped_write = os.pipe()
        order, theirs = None, None
        group = self._groups.take()
        try:
            self._add_granted(work, group)
            user = self._free_id()
            network = self._networks.enter()
            if work is None:  # in there: once the spec has come, nothing of ours is left in any network
                order, theirs = passing.pair()
            disk = self._disks.take(user)
            try:
                pid = linux.clone(init.NAMESPACES, group.directory if group else None)
            except OSError:
                self._networks.give_back(network)
                self._disks.give_back(disk)
                raise
            if pid == 0:
                self._become_init(work, theirs, group, mapped_read, mapped_write, disk)
            self._disks.passed_on(disk)
            self._alive[pid] = Clone(user, network, group, order, disk=disk)
            for kind in ("uid", "gid"):
                linux.write_map(pid, kind, identity.JOB_ID, user, 1)
            os.write(mapped_write, b"1")
            if group is not None:
                group.keep_readers()
        except BaseException:
            if order is not None:
                order.close()
            if group is not None and group not in (clone.group for clone in self._alive.values()):
                group.close()
                self._groups.give_back(group.number)
            raise
        finally:
            passing.close_all([mapped_read, mapped_write])
            if theirs is not None:
                theirs.close()
        return pid

    def _add_granted(self, work: tuple[Prepared, list[int]] | None, group: Group | None) -> None:
        """Put mounts of what a job is granted to its descriptors, and be closed with them."""
        if work is not None:
            told, fds = work
            fds += self._groups.grant(group, told.spec.grant)

    def _become_init(
        self,
        work: tuple[Prepared, list[int]] | None,
        order: socket.socket | None,
        group: Group | None,
        mapped: int,
        unused: int,
        disk: Disk | None,
    ) -> NoReturn:
        """Be the clone; whatever happens, it must not come back as a second zygote."""
        try:
            os.close(unused)
            self._control.close()
            if order is not None:
                kept = group.fds() if group else []
                held = [disk.hold] if disk else []
                linux.close_all_except([0, 1, 2, order.fileno(), mapped, *kept, *held])
            if group is not None:
                group.join()
            if work is None:
                assert order is not None
                request, fds = passing.receive_bytes(order, max_fds=MAX_FILES)
                if not request:
                    os._exit(0)
                work = self._preparer.prepare(request), fds
                order.close()
            told, fds = work
            init.main(told, told.spec.entry or self._entry, fds, mapped, group, disk)
        finally:
            os._exit(1)

    def _refuse(self, fds: list[int], problem: str) -> None:
        """Tell the agent, over the control socket that was meant for the sandbox's supervisor."""
        if len(fds) >= 5:
            with passing.adopt(os.dup(fds[1])) as control:
                passing.send(control, {"failed": problem})


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()

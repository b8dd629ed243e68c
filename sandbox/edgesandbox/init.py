"""PID 1 of a job's namespaces: builds the rest of the sandbox, starts the job, and reports how it ended.

One rule: after ``ready`` this process always ends by a Report, or by being killed, and either way the kernel kills
whatever is left in its PID namespace.  The job cannot reach it: signals from inside do not touch PID 1, and it keeps a
capability that the job lacks and is not dumpable, so it can be neither traced nor looked into.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import NoReturn

from edgesandbox import devices, footprint, job, linux, passing, root
from edgesandbox.disks import Disk
from edgesandbox.group import Group
from edgesandbox.prepare import Prepared
from edgesandbox.report import Ending, Outcome
from edgesandbox.supervise import Relay, Supervisor

# The sixth, for the network, is made by ``networks``.
NAMESPACES = linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS


def main(
    prepared: Prepared,
    entry: job.Entry | job.Waiting | str,
    fds: list[int],
    mapped: int,
    group: Group | None,
    disk: Disk | None,
) -> NoReturn:
    """Be a job's PID 1, from the clone on.

    Args:
        prepared: what the job may use, laid out.
        entry: what to call in it.
        fds: the job's channel, this process's control socket, the pipe that the agent reads output from, the one
            whose first byte starts the job, the timer for the first look at it, and mounts of what is granted.
        mapped: readable once the user ids are mapped.
        group: the control group that this process is in.
        disk: its scratch, where that is on disk.
    """
    channel, control_fd, sink, start, timer, *granted = fds
    control = passing.adopt(control_fd)
    try:
        disks = _build(prepared, control, mapped, group, granted, disk)
    except OSError as problem:
        with contextlib.suppress(OSError):
            passing.send(control, {"failed": problem.strerror or str(problem)})
        os._exit(1)
    try:
        _supervise(prepared, entry, channel, control, sink, start, timer, disks, group, on_disk=disk is not None)
    except OSError as problem:
        failed = Ending(status=0, stopped_for=Outcome.SETUP_FAILED, detail=problem.strerror or str(problem))
        with contextlib.suppress(OSError):  # nobody is there any more to report to
            passing.send_bytes(control, failed.pack() + prepared.account)
    os._exit(0)


def _build(
    prepared: Prepared,
    control: socket.socket,
    mapped: int,
    group: Group | None,
    granted: list[int],
    disk: Disk | None,
) -> tuple[int, int]:
    if not os.read(mapped, 1):
        raise OSError("the user ids of the sandbox could not be mapped")
    spec = prepared.spec
    if group is not None:
        group.leave_out(spec.without)
        group.limit(spec.limits)
    prepared.settle.make()
    hold = [disk.hold] if disk is not None else []  # for the agent, as long as it needs the scratch
    disks = root.mount_private(prepared.mounts, disk.name if disk is not None else None, spec.inputs)
    if disk is not None and footprint.free_bytes(disks[0]) < spec.limits.scratch_bytes:
        raise OSError(f"scratch of {spec.limits.scratch_bytes} bytes: so much is not free on its disk")
    if spec.grant:
        devices.furnish(spec.grant, granted)
    if "nested_namespaces_denied" not in spec.without:
        # One of its own would give the job every capability over whatever else it can create.
        linux.write_file("/proc/sys/user/max_user_namespaces", "0")
    prepared.harden.make()
    try:
        pidfd = os.pidfd_open(os.getpid())
    except OSError as problem:
        raise OSError(problem.errno, f"pidfd_open: {problem.strerror}") from None
    passing.send_bytes(control, passing.READY, [pidfd, disks[0], *hold])
    passing.close_all([pidfd, *hold])
    return disks


def _supervise(
    prepared: Prepared,
    entry: job.Entry | job.Waiting | str,
    channel: int,
    control: socket.socket,
    sink: int,
    start: int,
    timer: int,
    disks: tuple[int, int],
    group: Group | None,
    *,
    on_disk: bool,
) -> None:
    output_read, output_write = os.pipe()
    words_read, words_write = os.pipe()
    built_cpu_s = (group.cpu_s() if group is not None else None) or 0.0
    pid = os.fork()
    if pid == 0:
        job.run(prepared, entry, job.Ends(channel, output_write, words_write, start))
    kept = [*disks, *(group.fds() if group is not None else [])]
    linux.close_all_except([0, 1, 2, control.fileno(), sink, output_read, words_read, start, timer, *kept])
    prepared.supervise.make()
    supervisor = Supervisor(
        pid=pid,
        limits=prepared.spec.limits,
        control=control,
        words=words_read,
        start=start,
        timer=timer,
        relay=Relay(output_read, sink, prepared.spec.limits.output_bytes),
        disks=disks,
        on_disk=on_disk,
        group=group,
        built_cpu_s=built_cpu_s,
    )
    supervisor.watch()
    passing.send_bytes(control, supervisor.finish().pack() + prepared.account)
    supervisor.deliver_output()

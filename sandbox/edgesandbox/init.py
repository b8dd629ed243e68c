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

from edgesandbox import confine, identity, job, linux, passing, protections, root, seccomp
from edgesandbox.features import Features
from edgesandbox.group import Group
from edgesandbox.spec import Spec
from edgesandbox.supervise import Relay, Supervisor

# The sixth, for the network, is made by ``networks``.
NAMESPACES = linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS


def main(
    spec: Spec, entry: job.Entry | str, fds: list[int], mapped: int, features: Features, group: Group | None
) -> NoReturn:
    """Be a job's PID 1, from the clone on.

    Args:
        spec: what the job may use.
        entry: what to call in it.
        fds: the job's channel, this process's control socket, the pipe that the agent reads output from, the one
            whose first byte starts the job, and the timer for the first look at it.
        mapped: readable once the user ids are mapped.
        features: what this host can enforce.
        group: the control group that this process is in.
    """
    channel, control_fd, sink, start, timer = fds
    control = socket.socket(fileno=control_fd)
    try:
        disks = _build(spec, control, mapped, features, group)
    except OSError as problem:
        with contextlib.suppress(OSError):
            passing.send(control, {"failed": problem.strerror or str(problem)})
        os._exit(1)
    with contextlib.suppress(OSError):  # nobody is there any more to report to
        _supervise(spec, entry, channel, control, sink, start, timer, disks, features, group)
    os._exit(0)


def _build(spec: Spec, control: socket.socket, mapped: int, features: Features, group: Group | None) -> tuple[int, int]:
    if not os.read(mapped, 1):
        raise OSError("the user ids of the sandbox could not be mapped")
    if group is not None:
        group.leave_out(spec.without)
        group.limit(spec.limits)
    if features.separate_ids:
        os.setgroups([])
    os.setresgid(identity.JOB_ID, identity.JOB_ID, identity.JOB_ID)
    os.setresuid(identity.JOB_ID, identity.JOB_ID, identity.JOB_ID)
    linux.set_dumpable(True)  # else the kernel's files in /proc belong to somebody else
    disks = root.mount_private(spec.limits)
    if "nested_namespaces_denied" not in spec.without:
        # One of its own would give the job every capability over whatever else it can create.
        linux.write_file("/proc/sys/user/max_user_namespaces", "0")
    linux.set_dumpable(False)
    confine.refuse_core_dumps()
    linux.drop_bounding_capabilities()
    linux.set_no_new_privileges()
    if features.filter and "seccomp" not in spec.without:
        counted = group is not None and group.counts_memory
        seccomp.install(features.counted_filter if counted else features.filter)
    pidfd = os.pidfd_open(os.getpid())
    passing.send(control, {"ready": True}, [pidfd, disks[0]])
    os.close(pidfd)
    return disks


def _supervise(
    spec: Spec,
    entry: job.Entry | str,
    channel: int,
    control: socket.socket,
    sink: int,
    start: int,
    timer: int,
    disks: tuple[int, int],
    features: Features,
    group: Group | None,
) -> None:
    output_read, output_write = os.pipe()
    words_read, words_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        landlock_version = 0 if "landlock" in spec.without else features.landlock
        ends = job.Ends(channel, output_write, words_write, start)
        job.run(spec.limits, entry, ends, landlock_version)
    kept = [*disks, *(group.fds() if group is not None else [])]
    linux.close_all_except([0, 1, 2, control.fileno(), sink, output_read, words_read, start, timer, *kept])
    linux.keep_capabilities([linux.CAP_KILL, linux.CAP_SYS_PTRACE])
    supervisor = Supervisor(
        pid=pid,
        limits=spec.limits,
        control=control,
        words=words_read,
        start=start,
        timer=timer,
        relay=Relay(output_read, sink, spec.limits.output_bytes),
        disks=disks,
        group=group,
    )
    supervisor.watch()
    enforced, not_enforced = features.account(spec.without)
    report = supervisor.finish(tier=protections.tier(enforced), enforced=enforced, not_enforced=not_enforced)
    passing.send(control, report.to_json())
    supervisor.deliver_output()

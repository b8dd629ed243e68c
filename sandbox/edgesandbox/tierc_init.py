"""Tier C's supervisor and its job: the same watch as in ``init``, over a process group instead of a namespace.

One rule: this process ends the whole group before it ends itself, whatever the reason.  It is the job's user where
there is only one; Landlock or the filter keep the job's signals from it, and it cannot be looked into.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from edgesandbox import confine, job, linux, passing, seccomp, tierc_files, tierc_filter
from edgesandbox.calls import Calls
from edgesandbox.report import encode_account
from edgesandbox.spec import Spec
from edgesandbox.supervise import Relay, Supervisor
from edgesandbox.tierc_tree import ProcessGroup
from edgesandbox.tierc_wall import Wall

# To end the group and to clear up behind another user.
_CAPABILITIES = (linux.CAP_DAC_OVERRIDE, linux.CAP_FOWNER, linux.CAP_KILL)


@dataclasses.dataclass(frozen=True)
class Host:
    """What every job of a zygote of tier C can be given.

    Attributes:
        wall: the rules for files.
        separate_ids: each job has a kernel user id of its own.
        enforced: names of the protections.
        not_enforced: the others, and why not.
        shelf: what jobs are given inputs from; None where there is none that they could reach.
        limited_cores: jobs stay on the processors that they start on.
    """

    wall: Wall
    separate_ids: bool
    enforced: tuple[str, ...]
    not_enforced: dict[str, str]
    shelf: Path | None = None
    limited_cores: bool = False


@dataclasses.dataclass(frozen=True)
class Task:
    """One job: what to run, for whom, and where."""

    spec: Spec
    entry: job.Entry | job.Waiting | str
    user: int | None
    home: Path


def main(task: Task, fds: list[int], host: Host, lifeline: int) -> NoReturn:
    """Be a job's supervisor, from the fork on; ``fds`` as in ``init.main``, ``lifeline`` ends with the zygote."""
    channel, control_fd, sink, start, timer = fds
    control = socket.socket(fileno=control_fd)
    directories: list[int] = []
    with contextlib.suppress(OSError):  # nobody is there any more to report to
        try:
            linux.set_dumpable(False)
            linux.adopt_orphans()
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            directories = [os.open(task.home / part, flags) for part in tierc_files.PARTS]
            pidfd = os.pidfd_open(os.getpid())
            passing.send_bytes(control, passing.READY, [pidfd, directories[0]])
            os.close(pidfd)
        except OSError as problem:
            passing.send(control, {"failed": problem.strerror or str(problem)})
        else:
            _supervise(task, channel, control, sink, start, timer, directories, host, lifeline)
    tierc_files.remove(task.home)
    os._exit(0)


def _supervise(
    task: Task,
    channel: int,
    control: socket.socket,
    sink: int,
    start: int,
    timer: int,
    directories: list[int],
    host: Host,
    lifeline: int,
) -> None:
    output_read, output_write = os.pipe()
    words_read, words_write = os.pipe()
    grouped_read, grouped_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_job(task, job.Ends(channel, output_write, words_write, start), host, grouped_write)
    os.close(grouped_write)
    os.read(grouped_read, 1)  # its end: the group is there to be signalled
    kept = [control.fileno(), sink, output_read, words_read, start, timer, lifeline, *directories]
    linux.close_all_except([0, 1, 2, *kept])
    kept_calls = Calls()
    confine.add_capabilities(kept_calls, _CAPABILITIES if os.geteuid() == 0 else ())
    kept_calls.make()
    supervisor = Supervisor(
        pid=pid,
        limits=task.spec.limits,
        control=control,
        words=words_read,
        start=start,
        timer=timer,
        relay=Relay(output_read, sink, task.spec.limits.output_bytes),
        disks=(),
        group=None,
        tree=ProcessGroup(pid, *directories),
        lifeline=lifeline,
    )
    try:
        supervisor.watch()
        ending = supervisor.finish()
    except BaseException:
        supervisor.tree.signal(signal.SIGKILL)
        raise
    passing.send_bytes(control, ending.pack() + encode_account("C", host.enforced, host.not_enforced))
    supervisor.deliver_output()
    os.close(sink)
    _wait_for_the_agent(control, lifeline)


def _wait_for_the_agent(control: socket.socket, lifeline: int) -> None:
    """Return when nobody can want the job's files any more."""
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    poll.register(control, select.POLLIN)
    while [fd for fd, _event in poll.poll()] == [control.fileno()]:
        if passing.receive(control)[0] is None:
            return


def _become_job(task: Task, ends: job.Ends, host: Host, grouped: int) -> NoReturn:
    try:
        os.setsid()
        os.close(grouped)
        linux.block_signals()
        linux.set_dumpable(True)  # else its own files in /proc are root's
        confine.be_first_to_die()
        confine.use_descriptors(ends.output, [ends.channel, ends.words, ends.start])
        _give_up(task).make()
        linux.die_with_parent()  # a change of user clears it
        _move_in(task.home)
        given = [host.shelf / task.spec.inputs] if host.shelf is not None and task.spec.inputs is not None else []
        host.wall.restrict([task.home / part for part in tierc_files.PARTS], given)
        _filter(os.getpid(), host).make()
    except OSError as problem:
        os.write(ends.words, (problem.strerror or str(problem)).encode()[:1000])
        os._exit(1)
    job.start(task.entry, ends)


def _give_up(task: Task) -> Calls:
    """Lay out limits, user and privileges.

    The limit on processes counts a user's: the job's own where no other has its id, or else the agent's as well, of
    which there are never more than of the whole machine; it then only bounds what the watchdog may find.
    """
    calls = Calls()
    machine = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    confine.add_rlimits(calls, task.spec.limits, others=machine if task.user is None else 0)
    if os.geteuid() == 0:
        confine.add_bounding_drops(calls)
    if task.user is not None:
        calls.add("setgroups", 0, None)
        calls.add("setresgid", task.user, task.user, task.user)
        calls.add("setresuid", task.user, task.user, task.user)
    confine.add_dumpable(calls, dumpable=True)
    confine.add_no_new_privileges(calls)
    confine.add_capabilities(calls)
    return calls


def _filter(pid: int, host: Host) -> Calls:
    calls = Calls()
    code = tierc_filter.program(pid=pid, landlock=host.wall.version, separate_id=host.separate_ids)
    common = seccomp.program(count_memory=False, keep_affinity=host.limited_cores)
    for each in (code, common):
        seccomp.add(calls, each)
    return calls


def _move_in(home: Path) -> None:
    scratch, tmp = (str(home / part) for part in tierc_files.PARTS)
    os.chdir(scratch)
    os.environ["HOME"] = os.environ["TMPDIR"] = tmp
    tempfile: Any = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None  # it remembers where it found room

"""Jobs that go for somebody else's things: the agent's key, processes and sockets, another job, the host itself.

The victims are those of the ``victims`` fixture, which are looked at after every test that runs a job.  Each attack
is also made by a process that is not confined, or with one protection removed, where it must succeed.
"""

from __future__ import annotations

import os
import pty
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sandboxing import HERE, LIMITS, as_nobody, hear, report_of, say, unconfined

from edgesandbox import OutputRefused, Spec, Zygote

SEEN_BY_ALL = str(HERE / "hostile.py")  # a file of the host that every job may read


def test_the_victims_notice_what_an_unconfined_process_does(victims):
    """Whoever is not confined reaches each socket of the host and reads the key; the other job is out of reach."""
    reached = unconfined("intruders:reach", victims.addresses)
    read = unconfined("hostile:read_files", [str(victims.key)])

    assert ["done", "done", "done", "ConnectionRefusedError 111", "done"] == reached
    assert ["tcp", "udp", "abstract", "path"] == victims.reached()
    assert {"done"} == set(read.values())
    assert victims.key_was_read() or "noatime" in Path("/proc/self/mounts").read_text()


def test_no_socket_of_the_host_or_of_another_job_is_reached(run, victims):
    """By TCP, UDP, abstract name or path; nothing arrives at any of them."""
    answer = run("intruders:reach", victims.addresses).answer

    assert "done" not in answer
    assert [] == victims.reached()


def test_the_key_cannot_be_read(run, victims):
    """By its path, or by the agent's entries in /proc."""
    paths = [str(victims.key), *(f"/proc/{os.getpid()}/root{victims.key}", f"/proc/{victims.process.pid}/environ")]

    answer = run("hostile:read_files", paths).answer

    assert {"FileNotFoundError 2"} == set(answer.values())
    assert not victims.key_was_read()


@pytest.mark.needs("unfiltered")
def test_a_process_of_the_host_cannot_be_looked_into_or_changed(run, victims):
    """By /proc, ptrace, process_vm_readv, pidfd_getfd, signals, limits, affinity or priority; unconfined, by all."""
    outside = unconfined("intruders:spy", victims.process.pid)

    inside = run("intruders:spy", victims.process.pid).answer

    assert {"done"} == set(outside.values()), outside
    assert "done" not in inside.values(), inside


def test_killing_everybody_kills_only_ones_own(run, victims):
    """SIGKILL to -1 and to every number there is: the job's children die of it, the victims do not."""
    ended = run("intruders:kill_everybody")

    assert ["done", [9, 9]] == ended.answer
    assert "exited" == ended.report.outcome
    victims.check()


def test_killing_ones_own_group_kills_nobody_else(run):
    """The job leads a session and a group of its own; the supervisor lives to report what it did to itself."""
    ended = run("intruders:kill_group")

    assert [True, True] == ended.answer
    assert ("signalled", 9) == (ended.report.outcome, ended.report.signal)


def test_a_tree_deeper_than_a_path_is_refused_and_goes_with_the_job(spawn):
    """Hundreds of kilobytes deep: it is not walked into, and unmounting it takes no walk either."""
    box = spawn("intruders:build_deep")
    assert 3000 == hear(box)
    report_of(box)

    with pytest.raises(OutputRefused, match="not a plain file"):
        list(box.collect("output", max_files=10, max_bytes=1 << 20))


def test_a_sandbox_within_a_sandbox_is_refused_in_one_line(run):
    """Nothing that it is made of is to be had inside; it neither hangs nor pretends."""
    code, printed, complaint = run("intruders:be_sandboxed").answer

    assert (1, "") == (code, printed)
    assert 1 == complaint.count("\n")
    assert "not permitted" in complaint


def test_limits_and_priorities_of_the_supervisor_cannot_be_changed(run):
    """Priorities by the kernel, for its capabilities; limits by the filter: without that, the kernel allows them."""
    held, free = run("intruders:change_the_supervisor"), run("intruders:change_the_supervisor", without=["seccomp"])

    assert {"PermissionError 1"} == set(held.answer.values()), held.answer
    assert "done" == free.answer["prlimit"]


def test_a_job_may_change_its_own(run):
    """Processors, priorities and limits of its own, by 0 and by its number."""
    assert [100, 100] == run("intruders:change_oneself").answer


def test_every_mount_is_nosuid_and_only_devices_are_dev(run):
    """And of the host's files none is writable; unconfined, there are mounts without any of that."""
    inside = run("intruders:mounted").answer
    outside = unconfined("intruders:mounted")

    assert {True} == {"nosuid" in options for _, options in inside}
    assert {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")} == {
        point for point, options in inside if "nodev" not in options
    }
    writable = {point for point, options in inside if "rw" in options and not point.startswith("/dev/")}
    assert {"/scratch", "/tmp", "/proc"} >= {point for point in writable if not point.startswith("/proc")} | {"/proc"}
    assert not all("nosuid" in options for _, options in outside)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a setuid program of root's")
def test_a_setuid_program_gives_no_privilege():
    """Root's ``id`` with the bit set, where jobs see it: inside it runs as the job's user, outside as root."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as shown:
        Path(shown).chmod(0o755)
        program = Path(shown, "id")
        shutil.copy("/usr/bin/id", program)
        program.chmod(0o4755)
        assert program.stat().st_mode & stat.S_ISUID
        nobody = as_nobody(str(program), "-u")
        outside = subprocess.run(nobody, capture_output=True, text=True, check=True).stdout

        with (
            Zygote(entry="intruders:run_program", import_paths=[HERE], read_only=[shown]) as zygote,
            zygote.spawn(Spec(limits=LIMITS)) as box,
        ):
            say(box, [str(program), "-u"])
            inside = hear(box)

    assert ("0\n", "1000\n") == (outside, inside)


@pytest.mark.needs("unfiltered")
def test_a_root_cannot_be_left(run):
    """chroot is denied; whoever is allowed it, in a user namespace of his own, climbs out by the old trick."""
    # Not by clone(2) but by unshare(1): the attack itself is the same program.
    with tempfile.TemporaryDirectory() as directory:
        by = ["unshare", "--user", "--map-root-user"]
        called, seen = unconfined("intruders:leave_chroot", directory, by=by)

    inside, root = run("intruders:leave_chroot", "/tmp").answer

    assert "done" == called
    assert sorted(os.listdir("/")) == seen
    assert "PermissionError 1" == inside
    assert "scratch" in root


def test_the_host_is_not_told_of_a_core_dump(run):
    """The limit is 1, at which the kernel starts no program, and cannot be lowered; without the filter it can."""
    held, limit = run("intruders:lower_core_limit").answer
    free, lowered = run("intruders:lower_core_limit", without=["seccomp"]).answer

    assert (["done", "done"], [1, 1]) == (held, limit)
    assert (["done", "done"], [0, 0]) == (free, lowered)


@pytest.mark.parametrize("kind", ["lease", "dnotify"])
def test_a_job_can_neither_hold_up_nor_watch_who_opens_a_file(spawn, kind):
    """Leases and F_NOTIFY are denied; an owner who is not confined gets both on a file of his."""
    with tempfile.TemporaryDirectory() as directory:
        own = Path(directory, "file")
        own.touch()
        assert "done" == unconfined("intruders:lock", [kind, str(own)])

    box = spawn("intruders:lock")
    say(box, [kind, SEEN_BY_ALL])
    assert "PermissionError 1" == hear(box)


def test_a_job_cannot_watch_what_the_host_opens(spawn):
    """inotify is absent; with just the filter left out, a job sees that the host has read a file they share."""
    seen = []
    for without in ((), ("seccomp",)):
        box = spawn("intruders:watch", without)
        say(box, SEEN_BY_ALL)
        seen.append(hear(box))
        if seen[-1] == "watching":
            Path(SEEN_BY_ALL).read_bytes()
            say(box, "and?")
            seen.append(hear(box))

    assert ["errno 38", "watching", True] == seen


def test_locks_on_shared_files_are_a_channel_and_the_report_says_so(spawn, zygote):
    """The one line of the list that is not contained, and should a change contain it, this test will say so."""
    first, second = spawn("intruders:lock"), spawn("intruders:lock")
    answers = []
    for box in (first, second):
        say(box, ["flock", SEEN_BY_ALL])
        answers.append(hear(box))

    assert ["done", "BlockingIOError 11"] == answers
    assert "separate_file_locks" in zygote.not_enforced


def test_a_terminal_is_out_of_reach():
    """Started from a terminal, a job has none: no device of it and no session with it; its parent has both."""
    program = "import os; os.close(os.open('/dev/tty', os.O_RDWR)); print('typed')"
    inner = [sys.executable, "-m", "edgesandbox", "run", "--", "/bin/sh", "-c", "echo x > /dev/tty || echo no terminal"]
    outputs = []
    for command in ([sys.executable, "-c", program], inner):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(command[0], command, os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
        seen = b""
        while True:
            try:
                chunk = os.read(terminal, 1000)
            except OSError:  # EIO: the last process has gone
                break
            if not chunk:
                break
            seen += chunk
        os.close(terminal)
        os.waitpid(pid, 0)
        outputs.append(seen.decode())

    assert "typed" in outputs[0]
    assert "no terminal" in outputs[1]

"""Jobs that go for somebody else's things; as ``hostile``, and each is also run unconfined to prove that it can."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from hostile import answer, attempt, question

SCRATCH = Path("/scratch")


def guard(channel: socket.socket) -> None:
    """Be the victim: hold a file and a socket, and say for each line received whether all is as it was."""
    (SCRATCH / "precious").write_bytes(os.urandom(64))
    name = f"edgesandbox-job-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX) as sock, channel.makefile("r") as lines:
        sock.bind("\0" + name)
        sock.listen()

        def state() -> list[object]:
            return [
                sorted(os.listdir(SCRATCH)),
                hashlib.sha256((SCRATCH / "precious").read_bytes()).hexdigest(),
                [name for name in os.listdir("/proc") if name.isdigit()],
                bool(select.select([sock], [], [], 0)[0]),
                os.listdir("/tmp"),
            ]

        answer(channel, [name, state()])
        for _ in lines:
            answer(channel, state())


def reach(channel: socket.socket) -> None:
    """Try to reach each [kind, address]: connect, or send a datagram."""
    results = []
    for kind, address in question(channel):
        family = socket.AF_INET if kind in ("tcp", "udp") else socket.AF_UNIX
        where = {"abstract": f"\0{address}", "path": address}.get(kind, ("127.0.0.1", address))
        with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as sock:
            results.append(attempt(sock.sendto, b"x", where) if kind == "udp" else attempt(sock.connect, where))
    answer(channel, results)


def spy(channel: socket.socket) -> None:
    """Try everything that reads, changes or stops another process; answers what worked and what it saw."""
    pid = question(channel)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    done: dict[str, str] = {}

    def note(name: str, worked: bool) -> None:
        done[name] = "done" if worked else f"errno {ctypes.get_errno()}"

    for name in ("environ", "mem", "maps", "fd", "cwd", "root", "cmdline"):
        path = f"/proc/{pid}/{name}"
        done[name] = attempt(lambda path=path: os.close(os.open(path, os.O_RDONLY)))
    note("ptrace", libc.ptrace(0x4206, pid, None, None) == 0)  # PTRACE_SEIZE stops nobody
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 8)
    try:
        start = int(Path(f"/proc/{pid}/maps").read_text().partition("-")[0], 16)
    except OSError:
        start = 0x1000
    remote = (ctypes.c_uint64 * 2)(start, 8)
    note("process_vm_readv", libc.process_vm_readv(pid, vector, 1, remote, 1, 0) == 8)
    done["pidfd_open"] = attempt(os.pidfd_open, pid)
    if done["pidfd_open"] == "done":
        note("pidfd_getfd", libc.syscall(438, os.pidfd_open(pid), 0, 0) >= 0)
    done["signal"] = attempt(os.kill, pid, 0)
    done["prlimit"] = attempt(resource.prlimit, pid, resource.RLIMIT_NOFILE)
    done["sched_setaffinity"] = attempt(lambda: os.sched_setaffinity(pid, os.sched_getaffinity(pid)))
    done["setpriority"] = attempt(os.setpriority, os.PRIO_PROCESS, pid, 19)
    answer(channel, done)


def kill_everybody(channel: socket.socket) -> None:
    """Send SIGKILL to whoever it reaches, by -1, by group and one by one."""
    children = [os.fork() for _ in range(2)]
    if 0 in children:
        time.sleep(600)
    found = [attempt(os.kill, -1, signal.SIGKILL)]
    found += [attempt(os.kill, pid, signal.SIGKILL) for pid in range(2, 3000) if pid != os.getpid()]
    answer(channel, [found[0], [os.waitpid(child, 0)[1] for child in children]])


def lock(channel: socket.socket) -> None:
    """Take a lock or a lease of the kind asked for on a file, say how that went, and keep it until told more."""
    with channel.makefile("r") as lines:
        for line in lines:
            kind, path = json.loads(line)
            fd = os.open(path, os.O_RDONLY)
            if kind == "flock":
                answer(channel, attempt(fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
            elif kind == "fcntl":
                answer(channel, attempt(fcntl.lockf, fd, fcntl.LOCK_SH | fcntl.LOCK_NB))
            elif kind == "lease":
                answer(channel, attempt(fcntl.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_RDLCK))
            elif kind == "dnotify":
                answer(channel, attempt(fcntl.fcntl, os.open(Path(path).parent, 0), fcntl.F_NOTIFY, fcntl.DN_ACCESS))


def watch(channel: socket.socket) -> None:
    """Ask the kernel to be told when anybody opens a file; say whether it will, and then whether somebody did."""
    libc = ctypes.CDLL(None, use_errno=True)
    with channel.makefile("r") as lines:
        fd = libc.inotify_init1(0)
        if fd < 0 or libc.inotify_add_watch(fd, json.loads(next(lines)).encode(), 0x20) < 0:  # IN_OPEN
            answer(channel, f"errno {ctypes.get_errno()}")
            return
        answer(channel, "watching")
        next(lines)
        answer(channel, bool(select.select([fd], [], [], 1)[0]))


def run_program(channel: socket.socket) -> None:
    """Run a program, perhaps one with a setuid bit; answers what it prints."""
    done = subprocess.run(question(channel), capture_output=True, text=True, check=False)
    answer(channel, done.stdout + done.stderr)


def leave_chroot(channel: socket.socket) -> None:
    """Break out of the root by the old trick: chroot below it, then climb from a directory that is outside."""
    inside = Path(question(channel), "deeper")
    inside.mkdir()
    outside = os.open("/", os.O_RDONLY)
    results = attempt(os.chroot, inside)
    os.fchdir(outside)
    for _ in range(64):
        os.chdir("..")
    attempt(os.chroot, ".")
    answer(channel, [results, sorted(os.listdir("."))])


def lower_core_limit(channel: socket.socket) -> None:
    """Go back to the limit at which the kernel starts the host's program for core dumps: 0."""
    answers = [attempt(resource.setrlimit, resource.RLIMIT_CORE, (0, 1))]
    answers.append(attempt(resource.prlimit, 0, resource.RLIMIT_CORE, (0, 0)))
    answer(channel, [answers, resource.getrlimit(resource.RLIMIT_CORE)])


def mounted(channel: socket.socket) -> None:
    """Say what is mounted where, with which options."""
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    answer(channel, [[fields[4], fields[5].split(",")] for fields in lines])


def change_the_supervisor(channel: socket.socket) -> None:
    """Change limits, processors and priorities of PID 1, by its number and by the user id it shares with the job."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    zero = ctypes.create_string_buffer(48)

    def scheduler() -> None:
        os.sched_setscheduler(1, os.SCHED_BATCH, os.sched_param(0))

    def call(number: int, *arguments: object) -> None:
        if libc.syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), "")

    ioprio_set, sched_setattr = (30, 274) if os.uname().machine == "aarch64" else (251, 314)
    struct.pack_into("=IIQi", zero, 0, 48, os.SCHED_BATCH, 0, 5)
    tries = {
        "prlimit": lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (900, 900)),
        "sched_setaffinity": lambda: os.sched_setaffinity(1, os.sched_getaffinity(0)),
        "sched_setscheduler": scheduler,
        "sched_setparam": lambda: os.sched_setparam(1, os.sched_param(0)),
        "sched_setattr": lambda: call(sched_setattr, 1, zero, 0),
        "setpriority": lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
        "setpriority of the user": lambda: os.setpriority(os.PRIO_USER, 0, 19),
        "ioprio_set": lambda: call(ioprio_set, 1, 1, 3 << 13),
        "ioprio_set of the user": lambda: call(ioprio_set, 3, os.getuid(), 3 << 13),
    }
    answer(channel, {name: attempt(action) for name, action in tries.items()})


def change_oneself(channel: socket.socket) -> None:
    """Do to oneself what may be done to nobody else."""
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.sched_setaffinity(os.getpid(), os.sched_getaffinity(0))
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    answer(channel, resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE))


def kill_group(channel: socket.socket) -> None:
    """Send SIGKILL to one's own process group, and so to oneself; say so first."""
    answer(channel, [os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid()])
    os.killpg(0, signal.SIGKILL)


def build_deep(channel: socket.socket) -> None:
    """Leave a tree that is deeper than any path may be long."""
    made = 0
    (SCRATCH / "output").mkdir()
    os.chdir(SCRATCH / "output")
    try:
        while made < 3000:
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
            made += 1
    finally:
        answer(channel, made)


def be_sandboxed(channel: socket.socket) -> None:
    """Start a sandbox in the sandbox; answers exit code and last line."""
    command = [sys.executable, "-m", "edgesandbox", "check"]
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": paths})
    answer(channel, [done.returncode, done.stdout, done.stderr])


def be_robbed(channel: socket.socket) -> None:
    """Hold a file of one's own, closed to others, and forbid nobody to trace this process."""
    precious = SCRATCH / "precious"
    precious.write_text("secret")
    precious.chmod(0o600)
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(2**64 - 1))  # PR_SET_PTRACER: without Yama, nothing
    answer(channel, "here")
    channel.recv(1)


def borrow_id(channel: socket.socket) -> None:
    """Do to processes and files what the user of a job may, or oneself: as one who has broken every other wall."""
    asked = question(channel)
    libc = ctypes.CDLL(None, use_errno=True)
    if asked["job"]:
        namespace = os.open(f"/proc/{asked['job']}/ns/user", os.O_RDONLY)
        assert libc.setns(namespace, 0x10000000) == 0
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
    pid = asked["victim"]
    done = {
        "signal": attempt(os.kill, pid, 0),
        "prlimit": attempt(resource.prlimit, pid, resource.RLIMIT_NOFILE),
        **{path: attempt(lambda path=path: os.close(os.open(path, os.O_RDONLY))) for path in asked["files"]},
        "environ": attempt(lambda: os.close(os.open(f"/proc/{pid}/environ", os.O_RDONLY))),
        "memory": attempt(lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))),
        "ptrace": "done" if libc.ptrace(0x4206, pid, None, None) == 0 else f"errno {ctypes.get_errno()}",
    }
    answer(channel, done)

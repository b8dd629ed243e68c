"""Jobs that go for what a namespace would have kept from them; as ``hostile``."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import time
from pathlib import Path

from hostile import answer, attempt, question


def change(channel: socket.socket) -> None:
    """Try to change a file without opening it."""
    path = question(channel)
    actions = {
        "chmod": lambda: os.chmod(path, 0o777),
        "chown": lambda: os.chown(path, os.getuid(), os.getgid()),
        "utime": lambda: os.utime(path, (1, 1)),
        "setxattr": lambda: os.setxattr(path, "user.x", b"x"),
        "truncate": lambda: os.truncate(path, 0),
        "open to truncate": lambda: os.close(os.open(path, os.O_RDONLY | os.O_TRUNC)),
        "open for nothing": lambda: os.close(os.open(path, 3)),
        "link": lambda: os.link(path, "linked"),
        "rename": lambda: os.rename(path, path + "-renamed"),
    }
    answer(channel, {name: attempt(action) for name, action in actions.items()})


def pairs(channel: socket.socket) -> None:
    """Make pairs of sockets of each kind."""
    kinds = {"stream": socket.SOCK_STREAM, "packets": socket.SOCK_SEQPACKET, "datagrams": socket.SOCK_DGRAM}
    answer(channel, {name: attempt(socket.socketpair, socket.AF_UNIX, kind) for name, kind in kinds.items()})


def harass(channel: socket.socket) -> None:
    """Do what the kernel lets a user do to his processes; the process survives it."""
    pid = question(channel)
    libc = ctypes.CDLL(None, use_errno=True)

    def own_signals() -> None:
        read, _ = os.pipe()
        import fcntl

        fcntl.fcntl(read, fcntl.F_SETOWN, pid)

    def priority() -> None:
        os.setpriority(os.PRIO_PROCESS, pid, 19)  # which everybody may who is not there already

    def io_priority() -> None:
        if libc.syscall(251 if os.uname().machine == "x86_64" else 30, 1, pid, 2 << 13 | 5) < 0:
            raise OSError(ctypes.get_errno(), "ioprio_set")

    actions = {
        "signal": lambda: os.kill(pid, signal.SIGCONT),
        "pidfd": lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGCONT),
        "limit": lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64)),
        "affinity": lambda: os.sched_setaffinity(pid, os.sched_getaffinity(pid)),
        "priority": priority,
        "io priority": io_priority,
        "own signals": own_signals,
        "environment": lambda: Path(f"/proc/{pid}/environ").read_bytes(),
        "oom score": lambda: Path(f"/proc/{pid}/oom_score_adj").write_text("900"),
    }
    answer(channel, {name: attempt(action) for name, action in actions.items()})


def kill_everybody(channel: socket.socket) -> None:
    """SIGKILL to all there are; the caller is spared by the kernel."""
    answer(channel, attempt(os.kill, -1, signal.SIGKILL))


def outlive(channel: socket.socket) -> None:
    """Leave a daemon behind that tried to leave its session and its group; deaf to SIGTERM and SIGHUP."""
    read, write = os.pipe()
    if os.fork() == 0:
        tried = [attempt(os.setsid), attempt(os.setpgid, 0, 0)]
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        answer(channel, [os.getpid(), *tried])
        os.write(write, b"up")
        time.sleep(600)
    os.read(read, 2)


def breed(channel: socket.socket) -> None:
    """Have sixteen children, say which, and go on having more that end at once."""
    children = []
    for _ in range(16):
        child = os.fork()
        if child == 0:
            time.sleep(600)
        children.append(child)
    answer(channel, children)
    while True:
        try:
            if os.fork() == 0:
                os._exit(0)
            os.wait()
        except OSError:
            continue


def fill(channel: socket.socket) -> None:
    """Use up room, files or levels, and sleep."""
    kind = question(channel)
    if kind == "bytes":
        Path("large").write_bytes(b"x" * (16 << 20))
    elif kind == "files":
        for number in range(3000):
            Path(f"{number}").touch()
    else:
        for _ in range(200):
            os.mkdir("d")
            os.chdir("d")
    time.sleep(600)


def maze(channel: socket.socket) -> None:
    """Leave a result, a directory that is closed to its owner, links, and directories as deep as one gets."""
    Path("output").mkdir()
    Path("output/result").write_text("done")
    os.mkdir("closed", 0o000)
    os.mkfifo("fifo")
    os.symlink("/etc", "link")
    answer(channel, "digging")
    os.chdir(os.environ["TMPDIR"])
    while True:
        os.mkdir("d")
        os.chdir("d")


def multiply(channel: socket.socket) -> None:
    """Have 64 children at once; answer how many that were where the kernel does not allow it."""
    children = 0
    try:
        while children < 64:
            if os.fork() == 0:
                time.sleep(600)
            children += 1
    except OSError as problem:
        answer(channel, [children, problem.errno])
        return
    time.sleep(600)


def objects(channel: socket.socket) -> None:
    """Try to get at objects that all processes of a user share; 0 or the error's number."""
    numbers = {"semget": 64, "shmget": 29, "shmat": 30, "msgget": 68, "msgsnd": 69, "mq_open": 240, "mq_unlink": 241}
    if os.uname().machine != "x86_64":
        numbers = dict(zip(numbers, (190, 194, 196, 186, 189, 180, 181), strict=True))
    libc = ctypes.CDLL(None, use_errno=True)
    got = {}
    for name, number in numbers.items():
        done = libc.syscall(number, ctypes.c_char_p(b"/x") if name.startswith("mq") else 0, 0, 0o600, 0)
        got[name] = 0 if done >= 0 else ctypes.get_errno()
    answer(channel, got)

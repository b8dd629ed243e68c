"""Jobs that take more than their share, in ways that only a control group counts; as ``hostile``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from hostile import answer, attempt, question


def hoard(channel: socket.socket) -> None:
    """Take memory of the kind and size asked for, in ways that no limit on one process counts."""
    kind, size = question(channel)
    chunk = b"x" * (1 << 20)
    kept: list[object] = []
    if kind == "shared anonymous":
        import mmap

        block = mmap.mmap(-1, size)
        for at in range(0, size, len(chunk)):
            block[at : at + len(chunk)] = chunk
        kept.append(block)
    elif kind in ("memfd", "tmpfs"):
        fd = os.memfd_create("hoard") if kind == "memfd" else os.open("/scratch/hoard", os.O_CREAT | os.O_WRONLY)
        for _ in range(size // len(chunk)):
            os.write(fd, chunk)
    elif kind == "socket buffers":
        taken = 0
        while taken < size:
            pair = socket.socketpair()
            pair[0].setblocking(False)
            kept.append(pair)
            try:
                while True:
                    taken += pair[0].send(chunk[:4096])
            except BlockingIOError:
                continue
    answer(channel, "has it")


def hoard_in_one_of_many(channel: socket.socket) -> None:
    """Be many processes, one of which takes 200 MiB; answer when all of them have lived through it."""
    import mmap

    for _ in range(8):
        if os.fork() == 0:
            time.sleep(600)
    hoarder = os.fork()
    if hoarder == 0:
        block = mmap.mmap(-1, 200 << 20)
        for _ in range(200):
            block.write(bytes(1 << 20))
        os._exit(0)
    _, status = os.waitpid(hoarder, 0)
    if status:
        time.sleep(600)
    answer(channel, "all alive")


def frame_the_supervisor(channel: socket.socket) -> None:
    """Lack memory as very many small processes, none of which is a larger victim than the supervisor."""
    Path("/proc/self/oom_score_adj").write_text("0")
    line = f"x=0123456789abcdef; {'x=$x$x; ' * 16} kill -STOP $$"  # 1 MiB, without another program's help
    children = [subprocess.Popen(["/bin/sh", "-c", line]) for _ in range(80)]
    for child in children:
        child.wait()


def burn_disowned(channel: socket.socket) -> None:
    """Use 0.1 s of processor time in each of 25 processes, one after the other, whose times nobody collects."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(25):
        if os.fork() == 0:
            while time.process_time() < 0.1:
                pass
            os._exit(0)
        try:
            os.wait()
        except ChildProcessError:
            continue
    answer(channel, "done")


def own_control_groups(channel: socket.socket) -> None:
    """Say which groups this process is in, and try to get at any control file."""
    found = [path for path in ("/sys/fs", "/sys/fs/cgroup") if os.path.exists(path)] + os.listdir("/sys")
    open_files = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            open_files.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # that of the listing
            continue
    supervisors = {attempt(lambda fd=fd: os.close(os.open(f"/proc/1/fd/{fd}", os.O_RDWR))) for fd in range(64)}
    answer(channel, [Path("/proc/self/cgroup").read_text(), found, open_files, sorted(supervisors)])


def take_every_processor(channel: socket.socket) -> None:
    """Ask for all processors, for itself and for a child; answer how many each may use, then keep all busy."""
    asked = set(range(os.cpu_count() or 1))
    os.sched_setaffinity(0, asked)
    own = len(os.sched_getaffinity(0))
    done = subprocess.run(["nproc"], capture_output=True, text=True, check=True)
    answer(channel, [own, int(done.stdout)])
    for _ in asked:
        if os.fork() == 0:
            while True:
                pass
    time.sleep(600)

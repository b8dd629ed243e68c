"""Jobs that misbehave: entry functions for the sandbox's tests, also run unconfined to prove that they can.

Each takes the channel, as every job does; ``ask`` is how most of them answer.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def answer(channel: socket.socket, value: object) -> None:
    channel.sendall(json.dumps(value).encode() + b"\n")


def question(channel: socket.socket):
    with channel.makefile("r") as stream:
        return json.loads(stream.readline())


def attempt(action, *arguments) -> str:
    """Return "done", or the name of what was raised."""
    try:
        action(*arguments)
    except OSError as problem:
        return f"{type(problem).__name__} {problem.errno}"
    except Exception as problem:
        return type(problem).__name__
    return "done"


def noop(channel: socket.socket) -> None:
    answer(channel, "here")


def surroundings(channel: socket.socket) -> None:
    """Say everything a job can learn by looking."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    answer(
        channel,
        {
            "uid": os.getuid(),
            "gid": os.getgid(),
            "groups": os.getgroups(),
            "cwd": os.getcwd(),
            "environment": dict(os.environ),
            "hostname": socket.gethostname(),
            "root": sorted(os.listdir("/")),
            "dev": sorted(os.listdir("/dev")),
            "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
            "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
            "interfaces": [name for _, name in socket.if_nameindex()],
            "stdin": os.read(0, 10).decode(),
            "status": status,
            "exe": os.readlink("/proc/self/exe"),
        },
    )


def read_files(channel: socket.socket) -> None:
    """Try to read each path asked for."""
    answer(channel, {path: attempt(Path(path).read_bytes) for path in question(channel)})


def write_files(channel: socket.socket) -> None:
    """Try to write each path asked for."""
    answer(channel, {path: attempt(Path(path).write_bytes, b"x") for path in question(channel)})


def connect(channel: socket.socket) -> None:
    """Try to reach each address asked for: [port] by TCP, a name by abstract socket."""
    results = []
    for address in question(channel):
        family, where = (
            (socket.AF_INET, ("127.0.0.1", address)) if isinstance(address, int) else (socket.AF_UNIX, "\0" + address)
        )
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            results.append(attempt(sock.connect, where))
    answer(channel, results)


def signal_pids(channel: socket.socket) -> None:
    """Try to signal each pid asked for."""
    answer(channel, [attempt(os.kill, pid, number) for pid, number in question(channel)])


def attack_init(channel: socket.socket) -> None:
    """Try to kill, read and trace PID 1, then go on living."""
    results = {f"signal {number}": attempt(os.kill, 1, number) for number in (2, 9, 15, 17, 19, 24)}
    for name in ("mem", "environ", "maps", "fd/0", "root", "cwd"):
        results[name] = attempt(lambda name=name: os.close(os.open(f"/proc/1/{name}", os.O_RDONLY)))
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    results["ptrace"] = "done" if libc.ptrace(16, 1, None, None) == 0 else f"errno {ctypes.get_errno()}"
    pidfd = os.pidfd_open(1)
    results["pidfd_getfd"] = "done" if libc.syscall(438, pidfd, 3, 0) >= 0 else f"errno {ctypes.get_errno()}"
    answer(channel, results)


def nested_namespaces(channel: socket.socket) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    results: dict[str, str] = {}
    for name, flag in {"user": 0x10000000, "mount": 0x00020000, "net": 0x40000000, "pid": 0x20000000}.items():
        results[name] = "done" if libc.unshare(flag) == 0 else f"errno {ctypes.get_errno()}"
    for name, target in {"proc": b"/tmp", "tmpfs": b"/tmp"}.items():
        done = libc.mount(name.encode(), target, name.encode(), 0, None) == 0
        results["mount " + name] = "done" if done else f"errno {ctypes.get_errno()}"
    results["umount /proc"] = "done" if libc.umount2(b"/proc", 2) == 0 else f"errno {ctypes.get_errno()}"
    results["chroot"] = attempt(os.chroot, "/tmp")
    results["mknod"] = attempt(os.mknod, "/tmp/sda", 0o60600, os.makedev(8, 0))
    results["sethostname"] = attempt(socket.sethostname, "mine")
    results["setuid 0"] = attempt(os.setuid, 0)
    answer(channel, results)


def raise_limits(channel: socket.socket) -> None:
    import resource

    results = {}
    for name in ("CORE", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC"):
        which = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(which)
        results[name] = attempt(resource.setrlimit, which, (hard, hard + 1))
    answer(channel, results)


def outlive(channel: socket.socket) -> None:
    """Leave a daemon behind: own session, no parent, deaf to SIGTERM."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            answer(channel, "daemon")
            os.write(write, b"up")
            time.sleep(600)
        os._exit(0)
    os.read(read, 2)


def sleep(channel: socket.socket) -> None:
    answer(channel, "asleep")
    time.sleep(600)


def tidy_up(channel: socket.socket) -> None:
    """End in good order when asked to."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    answer(channel, "ready")
    time.sleep(600)


def deaf(channel: socket.socket) -> None:
    """Ignore every signal that can be ignored."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)
    answer(channel, "deaf")
    while True:
        time.sleep(1)


def print_lines(channel: socket.socket) -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)


def crash(channel: socket.socket) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(channel: socket.socket) -> None:
    sys.exit(question(channel))


def fail(channel: socket.socket) -> None:
    raise ValueError("of its own accord")


def forge(channel: socket.socket) -> None:
    """Write a good report to every descriptor there is."""
    report = json.dumps({"outcome": "exited", "exit_code": 0}).encode()
    for fd in range(3, 64):
        try:
            os.write(fd, report)
        except OSError:
            continue
    os._exit(9)


def shell(channel: socket.socket) -> None:
    """Run a program, as plugins may."""
    answer(channel, subprocess.run(["/bin/sh", "-c", "id -u; pwd"], capture_output=True, text=True, check=True).stdout)


def outputs(channel: socket.socket) -> None:  # noqa: C901
    """Leave files behind: a list of [kind, name, ...]."""
    out = Path("/scratch/output")
    out.mkdir()
    for kind, name, *rest in question(channel):
        path = out / name
        if kind == "file":
            path.write_bytes(rest[0].encode())
        elif kind == "symlink":
            path.symlink_to(rest[0])
        elif kind == "hardlink":
            path.hardlink_to(out / rest[0])
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            socket.socket(socket.AF_UNIX).bind(str(path))
        elif kind == "directory":
            path.mkdir()
        elif kind == "sparse":
            with path.open("wb") as file:
                file.truncate(rest[0])
        elif kind == "many":
            for number in range(rest[0]):
                (out / f"{name}{number}").touch()
        elif kind == "raw":
            Path(os.fsdecode(os.fsencode(out) + b"/" + bytes.fromhex(name))).touch()


def replace_output_directory(channel: socket.socket) -> None:
    Path("/scratch/output").symlink_to(question(channel))


def listen_and_wait(channel: socket.socket) -> None:
    """Listen on an abstract socket."""
    name = f"edgesandbox-job-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("\0" + name)
        sock.listen()
        answer(channel, name)
        time.sleep(600)


def system_calls(channel: socket.socket) -> None:
    """Make each call asked for, [number, argument, ...]; 0 for done, else the error's number."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    results = []
    for number, *arguments in question(channel):
        words = [ctypes.c_long(each) for each in arguments] + [ctypes.c_long(0)] * (6 - len(arguments))
        results.append(0 if libc.syscall(ctypes.c_long(number), *words) >= 0 else ctypes.get_errno())
    answer(channel, results)


def foreign_calls(channel: socket.socket) -> None:
    """Call getpid by the 32-bit entry, int 0x80."""
    import ctypes
    import mmap

    code = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
    code.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
    getpid = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    answer(channel, getpid() == os.getpid())


def sockets(channel: socket.socket) -> None:
    """Open a socket of each family and protocol asked for."""
    answer(channel, [attempt(lambda a=a: socket.socket(*a).close()) for a in question(channel)])


def obey(channel: socket.socket) -> None:
    """Read the name of one of these programs, or ``module:name`` of another, and not a byte more, and be it."""
    name = b""
    while not name.endswith(b"\n"):
        name += channel.recv(1)
    module, _, function = name.decode().strip().rpartition(":")
    getattr(importlib.import_module(module or __name__), function)(channel)


def tell_the_time(channel: socket.socket) -> None:
    """Say when this was called and when the process was made, by clocks that everybody shares.

    Leave a mark on each disk, and say which of them are there already.
    """
    called = time.monotonic()
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    marks = [Path("/scratch/mine"), Path("/tmp/mine")]
    left = [str(mark) for mark in marks if mark.exists()]
    for mark in marks:
        mark.touch()
    answer(channel, [called, ticks / os.sysconf("SC_CLK_TCK"), left])


def leave_a_socket(channel: socket.socket) -> None:
    """Say which network namespace this is, and what is in it; send a bound socket away when asked to, and end."""
    seen = [os.readlink("/proc/self/ns/net"), Path("/proc/net/unix").read_text().count("@left")]
    kept = socket.socket(socket.AF_UNIX)
    seen.append(attempt(kept.bind, "\0left"))
    kept.listen()
    answer(channel, seen)
    if question(channel) == "send it":
        socket.send_fds(channel, [b"x"], [kept.fileno()])


def fill_all(channel: socket.socket) -> None:
    """Fill both disks with files and links, and go on."""
    for number in range(50):
        for directory in ("/scratch", "/tmp"):
            Path(directory, f"file{number}").write_bytes(b"x" * 5000)
            Path(directory, f"link{number}").symlink_to("/")
    answer(channel, "filled")
    time.sleep(600)


def leave_everything(channel: socket.socket) -> None:
    """Have daemons, shared memory, sockets and open files, and end without tidying up."""
    import mmap

    mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    kept = [socket.socketpair() for _ in range(10)] + [open(f"/dev/shm/{number}", "wb") for number in range(10)]  # noqa: SIM115 -- kept open: that is the attack
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("\0everything")
    listening.listen()
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
    answer(channel, len(kept))

"""How the sandbox's tests talk to a job, and what one leaves behind."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from edgesandbox import Box, Limits, Report, cgroupfs

HERE = Path(__file__).parent
LIMITS = Limits(wall_s=60, cpu_s=60, memory_bytes=256 << 20, pids=32)


@dataclasses.dataclass
class Ended:
    """What one job left: its report, its answer on the channel, its output."""

    report: Report
    answer: Any
    output: bytes


def unconfined(program: str, asked: object = None, by: Sequence[str] = ()) -> Any:
    """Run one of the hostile programs as a process of this user like any other; returns its answer.

    Args:
        program: ``"module:function"``.
        asked: what it is sent first.
        by: what to start it with: a command line that ends in running its arguments.
    """
    module, _, function = program.partition(":")
    code = f"import socket, sys; from {module} import {function}; {function}(socket.socket(fileno=int(sys.argv[1])))"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        ours.sendall(json.dumps(asked).encode() + b"\n")
        ours.shutdown(socket.SHUT_WR)
        subprocess.run(
            [*by, sys.executable, "-c", code, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])},
            timeout=60,
            check=True,
        )
        theirs.close()
        with ours.makefile("r") as stream:
            return json.loads(stream.readline())


def read_all(fd: int, limit_s: float = 20.0) -> bytes:
    """Read a pipe to its end."""
    data = b""
    while select.select([fd], [], [], limit_s)[0]:
        chunk = os.read(fd, 65536)
        if not chunk:
            return data
        data += chunk
    raise AssertionError(f"the pipe had no end within {limit_s} s")


def say(box: Box, value: object) -> None:
    """Send one line to the job."""
    box.channel.sendall(json.dumps(value).encode() + b"\n")


def hear(box: Box) -> Any:
    """Receive one line from the job; None when it ended without one."""
    box.channel.settimeout(60)
    data = b""
    while not data.endswith(b"\n"):
        try:
            chunk = box.channel.recv(65536)
        except ConnectionResetError:  # it ended with our question unread
            chunk = b""
        if not chunk:
            break
        data += chunk
    return json.loads(data) if data else None


def report_of(box: Box) -> Report:
    """Wait for the report, with a limit."""
    assert select.select([box.control], [], [], 90)[0], "no report within 90 s"
    return box.read_report()


def family(pid: int) -> dict[int, int]:
    """Return every living process below ``pid``, by the host's /proc, with its parent."""
    parents: dict[int, int] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (directory / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(directory.name)] = int(parent)
    found: dict[int, int] = {}
    todo = [pid]
    while todo:
        above = todo.pop()
        below = {each: above for each, parent in parents.items() if parent == above and each not in found}
        found |= below
        todo += below
    return found


def descendants(pid: int) -> set[int]:
    """Return every living process below ``pid``."""
    return set(family(pid))


def wait_until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    """Wait for what the kernel does in its own time."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it never came true"
        select.select([], [], [], 0.01)


def mounts() -> list[str]:
    """Return the mounts of this process's namespace that a sandbox could have made, or changed.

    Those below /run and /var/lib come and go with other programs' containers and network namespaces, those of a source
    called ``a-test`` with tests that run beside this one.
    """
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    ours = [line for line in lines if " a-test " not in line]
    return [line for line in ours if not line.split(" ")[4].startswith(("/run/", "/var/lib/"))]


def control_groups(launchers: Iterable[int]) -> list[str]:
    """Return every control group of this host that is one of these launchers' or lies below one."""
    names = {f"{cgroupfs.PREFIX}{pid}" for pid in launchers}
    command = ["find", "/sys/fs/cgroup", "-path", f"*/{cgroupfs.PREFIX}*", "-type", "d"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [path for path in found if names & set(path.split("/"))]


def in_sessions(leaders: Collection[int]) -> list[int]:
    """Return every living process in a session that one of these began, as each launcher does."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            state, _parent, _group, session = (directory / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if state != "Z" and (int(session) in leaders or int(directory.name) in leaders):
            found.append(int(directory.name))
    return found


def runs(pid: int) -> bool:
    """Say whether a process is there and not just unburied."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def settled(look):
    """Return what two looks in a row agree on."""
    seen = look()
    while True:
        select.select([], [], [], 0.3)
        last, seen = seen, look()
        if last == seen:
            return seen


NOBODY = 65534


def as_nobody(*command: str) -> list[str]:
    """Return a command line that root runs so that an ordinary user runs ``command``.

    The interpreter or this project may live in root's home, so the user gets a mount namespace in which the way there
    is open: a closed directory on it is covered by an empty one with just what is wanted bound into it.
    """
    return [
        *as_root(),
        *("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"),
        *("env", "-i", "PATH=/usr/bin:/bin", f"PYTHONPATH={os.pathsep.join(filter(None, sys.path))}"),
        *("PYTHONDONTWRITEBYTECODE=1", "HOME=/nonexistent", "CI=" + os.environ.get("CI", "")),
        "EDGESANDBOX_TEST_JOBS=" + os.environ.get("EDGESANDBOX_TEST_JOBS", "100"),
        *command,
    ]


def with_own_ids(*command: str, given: str = f"{NOBODY}:1000000:65536") -> list[str]:
    """Return a command line that root runs so that ``as_nobody`` is one to whom /etc/subuid gives ids of his own."""
    script = "\n".join(
        [
            "mount -t tmpfs -o mode=755 given /mnt",
            f"echo '{given}' > /mnt/subid; cd /etc; touch subuid subgid",
            "for each in subuid subgid; do mount --bind /mnt/subid $each; done",
            'cd /; exec "$@"',
        ]
    )
    return ["unshare", "--mount", "sh", "-ec", script, "sh", *as_nobody(*command)]


def as_root(*command: str) -> list[str]:
    """Return a command line that root runs so that all whom it starts, as any user, reach interpreter and project."""
    wanted = {Path(os.path.realpath(sys.executable)).parents[1], Path(sys.prefix), HERE.parents[1]}
    script = "\n".join([*_open_the_way(sorted(wanted)), 'exec "$@"'])
    return ["unshare", "--mount", "sh", "-ec", script, "sh", *command]


def _open_the_way(wanted: list[Path]) -> list[str]:
    """Return shell lines that make ``wanted`` reachable for everybody in a mount namespace of its own."""
    ways = {path: [parent for parent in path.parents if not parent.stat().st_mode & 0o001] for path in wanted}
    closed = {path: way[-1] for path, way in ways.items() if way}
    if not closed:
        return []
    lines = ["mount -t tmpfs stage /mnt"]
    for index, path in enumerate(closed):
        lines.append(f"mkdir /mnt/{index} && mount --rbind '{path}' /mnt/{index}")
    lines += [f"mount -t tmpfs -o mode=755 opened '{outermost}'" for outermost in set(closed.values())]
    lines += [f"mkdir -p '{path}' && mount --rbind /mnt/{i} '{path}'" for i, path in enumerate(closed)]
    return lines

"""A job that looks around: the proof, on this very host, that a sandbox is what it claims to be.

It runs confined as any other job, reads one line that says what the agent sees, tries what each protection is there to
stop, and answers with pairs of a protection and what does not hold; an empty list is the good answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgesandbox.identity import JOB_ID
from edgesandbox.root import DEVICES
from edgesandbox.seccomp import NUMBERS

Finding = tuple[str, str]

_NAMESPACES = {
    "user": "user_namespace",
    "mnt": "mount_namespace",
    "pid": "pid_namespace",
    "net": "network_namespace",
    "ipc": "ipc_namespace",
    "uts": "uts_namespace",
}


def main(channel: socket.socket) -> None:
    """Answer one question."""
    with channel.makefile("rw") as stream:
        question = json.loads(stream.readline())
        stream.write(json.dumps(list(findings(question))) + "\n")


def findings(question: dict[str, Any]) -> Iterator[Finding]:
    """Yield each thing that does not hold, with the protection that should have made it."""
    for kind, outside in question["namespaces"].items():
        if str(Path(f"/proc/self/ns/{kind}").readlink()) == outside:
            yield _NAMESPACES[kind], f"the {kind} namespace is the host's"
    yield from _surroundings(question)
    yield from _privileges()
    yield from _limits()
    yield from _calls()
    if question.get("tier_c"):
        yield from _without_namespaces()


def _without_namespaces() -> Iterator[Finding]:
    with contextlib.suppress(OSError):
        socket.socket(socket.AF_UNIX).close()
        yield "sockets_denied", "a socket can be made"
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
        yield "process_group_kept", "a job can change its process group"


def _surroundings(question: dict[str, Any]) -> Iterator[Finding]:
    if os.getuid() != JOB_ID or os.getgid() != JOB_ID:
        yield "user_namespace", f"the job runs as user {os.getuid()}"
    for path, identity in question["host_paths"].items():
        if file_identity(path) == identity:
            yield "private_root", f"{path} of the host is visible"
            with contextlib.suppress(OSError):
                os.listdir(path)
                yield "landlock", f"{path} of the host can be looked into"
    for directory in ("/", "/etc", "/usr", "/dev"):
        if not os.statvfs(directory).f_flag & os.ST_RDONLY:
            yield "private_root", f"{directory} is writable"
    extra = [node for node in _device_nodes() if node.removeprefix("/dev/") not in DEVICES]
    if extra:
        yield "device_pinning", f"devices that nobody was granted are visible: {', '.join(extra)}"
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    if len(pids) != 2:
        yield "pid_namespace", f"{len(pids)} processes are visible instead of two"
    others = _interfaces() & set(question["interfaces"]) - {"lo"}
    if others:
        yield "network_namespace", f"network interfaces {sorted(others)} are visible"


def _device_nodes() -> list[str]:
    paths = (os.path.join(where, name) for where, _below, names in os.walk("/dev") for name in names)
    modes = {path: os.lstat(path).st_mode for path in paths}
    return sorted(path for path, mode in modes.items() if stat.S_ISCHR(mode) or stat.S_ISBLK(mode))


def _interfaces() -> set[str]:
    try:
        return {name for _index, name in socket.if_nameindex()}
    except OSError:  # no socket to ask by
        return set()


def file_identity(path: str) -> list[int] | None:
    """Return what tells this file from every other of the machine; None where there is none to be seen.

    A directory that only leads to something below it, in the job's own tree, is not the host's of that name.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_dev, status.st_ino]


def _privileges() -> Iterator[Finding]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        if int(status[name], 16):
            yield "capabilities_dropped", f"capabilities are left ({name} {status[name]})"
    if int(status["CapBnd"], 16):
        yield "capabilities_unobtainable", f"the bounding set is not empty ({status['CapBnd']})"
    if status["NoNewPrivs"] != "1":
        yield "no_new_privileges", "new privileges are possible"
    if status.get("Seccomp") != "2":
        yield "seccomp", "system calls are not filtered"


def _limits() -> Iterator[Finding]:
    for name in ("CORE", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC"):
        if resource.RLIM_INFINITY in resource.getrlimit(getattr(resource, f"RLIMIT_{name}")):
            yield f"rlimit_{name.lower()}", f"RLIMIT_{name} is not set"
    for name, path in (("scratch_cap", "/scratch"), ("tmp_cap", "/tmp")):
        if not os.path.ismount(path):
            yield name, f"{path} is not a file system of its own"


def _calls() -> Iterator[Finding]:
    libc = ctypes.CDLL(None, use_errno=True)
    column = 0 if os.uname().machine == "x86_64" else 1
    if libc.syscall(NUMBERS["keyctl"][column], 0, -3, 0) >= 0:  # KEYCTL_GET_KEYRING_ID of the session
        yield "seccomp", "the kernel's keyrings can be used"
    if libc.unshare(0x10000000) == 0:
        yield "nested_namespaces_denied", "a job can make user namespaces"

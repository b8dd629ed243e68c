"""A job that looks around: the proof, on this very host, that a sandbox is what it claims to be.

It runs confined as any other job, reads one line that says what the agent sees, and answers with a list of what does
not hold; an empty list is the good answer.
"""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgesandbox.identity import JOB_ID


def main(channel: socket.socket) -> None:
    """Answer one question."""
    with channel.makefile("rw") as stream:
        question = json.loads(stream.readline())
        stream.write(json.dumps(list(findings(question))) + "\n")


def findings(question: dict[str, Any]) -> Iterator[str]:
    """Yield one line for each thing that does not hold."""
    for kind, outside in question["namespaces"].items():
        if str(Path(f"/proc/self/ns/{kind}").readlink()) == outside:
            yield f"the {kind} namespace is the host's"
    if os.getuid() != JOB_ID or os.getgid() != JOB_ID:
        yield f"the job runs as user {os.getuid()}"
    for path in question["host_paths"]:
        if os.path.exists(path):  # noqa: PTH110
            yield f"{path} of the host is visible"
    yield from _privileges()
    yield from _writable_root()
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        yield "core files are not off"
    pids = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    if len(pids) != 2:
        yield f"{len(pids)} processes are visible instead of two"
    others = {name for _index, name in socket.if_nameindex()} & set(question["interfaces"]) - {"lo"}
    if others:
        yield f"network interfaces {sorted(others)} are visible"


def _privileges() -> Iterator[str]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        if int(status[name], 16):
            yield f"capabilities are left ({name} {status[name]})"
    if status["NoNewPrivs"] != "1":
        yield "new privileges are possible"


def _writable_root() -> Iterator[str]:
    for directory in ("/", "/etc", "/usr", "/dev"):
        try:
            Path(directory, "probe").touch()
        except OSError:
            continue
        yield f"{directory} is writable"

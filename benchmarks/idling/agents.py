"""Agents with nothing to do: ours, as its command runs it, and its peers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.dispatching.stage import Member
from benchmarks.harness import BenchmarkError
from edgeagent.errors import UnreachableError
from edgeagent.node.controller import Controller

#: Seconds that an agent has to come up, on a machine that is busy.
START_S = 120.0
#: What would point a node elsewhere, or have it do something else.
_OURS = ("GATEWAY_URL", "NODE_JWT", "NODE_ID", "HEALTH_PORT", "LOG_LEVEL", "EDGEAGENT_", "PYTHONDONTWRITEBYTECODE")


class AbsentError(Exception):
    """A peer cannot be measured here; one line says why."""


def environ() -> dict[str, str]:
    """Return what our commands are started with: bytecode may be written, since those that are installed have some."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


@contextlib.contextmanager
def node(home: Path, gateway: tuple[str, int], member: Member) -> Iterator[int]:
    """Run a node, and yield its pid once its gateway has acknowledged a heartbeat.

    Raises:
        BenchmarkError: it does not come so far; has the end of its log.
    """
    settled = {
        "GATEWAY_URL": "http://{}:{}".format(*gateway),
        "NODE_JWT": member.token,
        "EDGEAGENT_HOME": str(home),
        "HEALTH_PORT": "0",
    }
    home.mkdir(mode=0o700, exist_ok=True)
    with _running([sys.executable, "-m", "edgeagent", "run"], home / "out", environ() | settled) as process:
        end = time.monotonic() + START_S
        while not _healthy(home):
            if process.poll() is not None or time.monotonic() > end:
                raise BenchmarkError(f"the node did not start: {(home / 'out').read_text()[-500:]}")
            time.sleep(0.2)  # to ask is work for the node, too
        yield process.pid


def _healthy(home: Path) -> bool:
    try:
        with Controller(home) as controller:
            return bool(controller.ask("state")["state"]["link"]["state"] == "HEALTHY")
    except UnreachableError:
        return False


@contextlib.contextmanager
def boinc(folder: Path) -> Iterator[int]:
    """Run BOINC's client without any project, and without the benchmarks that it begins with."""
    binary = shutil.which("boinc")
    if binary is None:
        raise AbsentError("no boinc on the PATH (Debian: boinc-client)")
    folder.mkdir()
    command = [binary, "--dir", str(folder), "--skip_cpu_benchmarks", "--allow_multiple_clients", "--no_info_fetch"]
    with _running(command, folder / "out", os.environ) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
            raise AbsentError(f"it does not run here: {(folder / 'out').read_text()[-200:].strip()}")
        yield process.pid


#: Whom we stand beside, by name, and who cannot be measured anywhere.
PEERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[int]]] = {"BOINC client": boinc}
ABSENT = {"Buildkite agent": "it waits for work only where it has registered with an account at Buildkite's service"}


@contextlib.contextmanager
def _running(command: list[str], log: Path, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

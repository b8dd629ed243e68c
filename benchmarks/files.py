"""How fast large files go to a gateway and come back, and what memory that takes it, beside nginx.

The gateway takes an upload as tus has it, writes it to the disk for good (an fsync each 64 MiB and at the end) and
finds its SHA-256 right before it answers.  nginx takes it by WebDAV: no digest, no fsync, nothing to resume.  Both
are sent to by curl, and the gateway by its own command too, which reads the file twice: for its digest, and to send it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs

from benchmarks.dispatching import stage
from benchmarks.filing import curl, nginx
from benchmarks.harness import BenchmarkError, Run, alternate
from benchmarks.rows import Target, row_id

UP, DOWN = "upload", "download"
MEMORY = "memory beyond what a file of 1 MiB takes, at its peak"
OURS, COMMAND, DISK = "edgeagent, curl", "edgeagent, its own command", "cp and sync, then sha256sum"
MIB = 1 << 20
#: The size that constant memory is promised for.
FULL_BYTES, QUICK_BYTES = 2048 * MIB, 64 * MIB
ROUNDS = 3
#: What a gateway may take for a file of any size: pieces on their way, in buffers of its own and its libraries.
MOST_MIB = 64

TARGETS = (
    Target(row=row_id(UP, OURS), at_least=300),
    *(Target(row=row_id(MEMORY, direction), at_most=MOST_MIB) for direction in (UP, DOWN)),
)


@attrs.frozen
class Scene:
    """The file that is sent, one of 1 MiB to warm up with, and where everything is kept."""

    folder: Path
    large: Path
    large_sha256: str
    small: Path
    small_sha256: str


def measure(run: Run) -> None:
    """Take all figures; about five minutes, and eight gigabytes of disk."""
    if (why := curl.missing()) is not None:
        raise BenchmarkError(why)
    with tempfile.TemporaryDirectory(prefix="edgeagent-bench-") as folder:
        run.say("preparing")
        scene = _scene(Path(folder), QUICK_BYTES if run.quick else FULL_BYTES)
        prepared = stage.prepare(Path(folder) / "gateway", node_count=0, job_type="echo")
        command = partial(_command, run, scene, prepared)  # the slowest by far: once
        turns: list[Callable[[], None]] = [partial(_ours, run, scene, prepared), command, partial(_disk, run, scene)]
        if (why := nginx.missing()) is None:
            turns.append(partial(_nginx, run, scene))
        else:
            run.absent[nginx.NAME] = why
        for group in (UP, DOWN):
            run.compare(group, row_id(group, nginx.NAME))
        run.say(f"{len(turns)} ways of storing {scene.large.stat().st_size // MIB} MiB, in turns")
        rounds = 1 if run.quick else ROUNDS
        for turn in alternate(turns, rounds, every=lambda turn: rounds if turn is command else 1):
            turn()


def _ours(run: Run, scene: Scene, prepared: stage.Stage) -> None:
    with prepared.gateway() as served:
        url, token = "http://{}:{}".format(*served.address), served.token
        curl.resumable(url, token, scene.small, scene.small_sha256)
        curl.get(f"{url}/api/v1/files/{scene.small_sha256}", token)
        before = _peak_bytes(served.pid)
        _rate(run, UP, OURS, scene, curl.resumable(url, token, scene.large, scene.large_sha256))
        after_upload = _peak_bytes(served.pid)
        _rate(run, DOWN, OURS, scene, curl.get(f"{url}/api/v1/files/{scene.large_sha256}", token))
        run.add(MEMORY, UP, (after_upload - before) / MIB, "MiB")
        run.add(MEMORY, DOWN, (_peak_bytes(served.pid) - after_upload) / MIB, "MiB")
        if scene.large_sha256 not in [file["sha256"] for file in curl.listed(url, token)]:
            raise BenchmarkError("the gateway does not list the file that it was sent")


def _command(run: Run, scene: Scene, prepared: stage.Stage) -> None:
    with prepared.gateway() as served:
        environ = os.environ | {"EDGEAGENT_TOKEN": served.token}
        base = [sys.executable, "-m", "edgeagent", "files", "--gateway-url", "http://{}:{}".format(*served.address)]
        for direction, words in (
            (UP, ["upload", str(scene.large)]),
            (DOWN, ["download", scene.large_sha256, "--output", str(scene.folder / "copy")]),
        ):
            started = time.perf_counter()
            done = subprocess.run([*base, *words], env=environ, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BenchmarkError(f"edgeagent files {direction} failed: {done.stderr.strip()[-300:]}")
            _rate(run, direction, COMMAND, scene, time.perf_counter() - started)
        (scene.folder / "copy").unlink()


def _nginx(run: Run, scene: Scene) -> None:
    folder = scene.folder / "nginx"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        url = stack.enter_context(nginx.running(folder))
        _rate(run, UP, nginx.NAME, scene, curl.put(f"{url}/large", scene.large))
        _rate(run, DOWN, nginx.NAME, scene, curl.get(f"{url}/large"))


def _disk(run: Run, scene: Scene) -> None:
    """What the disk and the digest alone take, which no server could be faster than."""
    copy = scene.folder / "copied"
    started = time.perf_counter()
    for command in (["cp", str(scene.large), str(copy)], ["sync", str(copy)], ["sha256sum", str(copy)]):
        subprocess.run(command, check=True, capture_output=True)
    _rate(run, UP, DISK, scene, time.perf_counter() - started)
    copy.unlink()


def _rate(run: Run, group: str, name: str, scene: Scene, seconds: float) -> None:
    run.add(group, name, scene.large.stat().st_size / MIB / seconds, "MiB/s")


def _scene(folder: Path, size: int) -> Scene:
    large, small = folder / "large", folder / "small"
    return Scene(folder, large, _made(large, size), small, _made(small, MIB))


def _made(path: Path, size: int) -> str:
    """Make a file of so many bytes, each MiB of it another; return its digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(size // MIB):
            piece = number.to_bytes(8, "big") * (MIB // 8)
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def _peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had resident so far."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

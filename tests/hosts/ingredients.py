"""What the sandbox's tests need in a guest or a container: a folder handed in, and its word believed.

The folder (``/project`` on the other side) holds what is tested, the libraries of the ``sandbox-test`` dependency group
and ``inside.py``, which runs there; it is made anew for each run, from what is kept between runs.  The Debian trees on
the other side are made by ``trees``.  Called by ``qemu_guest.py`` and ``docker_host.py``.
"""

from __future__ import annotations

import compileall
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

PROJECT = Path(__file__).parents[2]
#: Handed in: the sandbox, its tests, and how they are run.
HANDED_IN = ("pyproject.toml", "sandbox", "tests/conftest.py", "tests/hosts", "tests/sandbox")
SUITE = "bookworm"
PYTHON = (3, 11)  # of SUITE
BUILD_TIMEOUT_S = 1800
#: Starts what ``inside.py`` says how one run went.
MARK = "@@ "


def need(programs: dict[str, str]) -> None:
    """Check that programs are installed; maps each to the Debian package that has it.

    Raises:
        SystemExit: one is not, or the caller is not root; one line that says what to type.
    """
    if os.geteuid() != 0:
        raise SystemExit("this session builds a Debian tree, which takes root")
    packages = sorted({package for program, package in programs.items() if shutil.which(program) is None})
    if packages:
        raise SystemExit(f"not installed; type: apt-get install --no-install-recommends {' '.join(packages)}")


def run(*command: str | Path, timeout_s: float = 300) -> None:
    """Run a program at low priority; its output is shown only when it fails.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(
        ["nice", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace")[-4000:])
        raise SystemExit(f"{command[0]} failed with exit code {done.returncode}")


@contextlib.contextmanager
def handed_in(cache: Path, arguments: Iterable[str]) -> Iterator[Path]:
    """Yield the folder to hand in; ``arguments`` go to pytest."""
    libraries = _libraries(cache)
    with tempfile.TemporaryDirectory(prefix="sandbox-tests-") as scratch:
        folder = Path(scratch, "project")
        for name in HANDED_IN:
            if (PROJECT / name).is_dir():
                shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, folder / name)
        shutil.copytree(libraries, folder / "site")
        (folder / "arguments.json").write_text(json.dumps(list(arguments)))
        if sys.version_info[:2] == PYTHON:  # an emulated processor takes seconds to compile what this one has
            for name in ("sandbox", "tests"):
                compileall.compile_dir(folder / name, quiet=1)
        run("chmod", "-R", "a+rX", scratch)
        yield folder


def _libraries(cache: Path) -> Path:
    """Return a folder with the ``sandbox-test`` dependency group for the tree's Python, whatever Python this is."""
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]["sandbox-test"]
    ready = cache / f"site-{hashlib.sha256(repr((PYTHON, wanted)).encode()).hexdigest()[:12]}"
    if not ready.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as scratch:
            made = Path(scratch, "made")
            version = ".".join(map(str, PYTHON))
            pip = [sys.executable, "-m", "pip", "install", "--target", made, "--python-version", version]
            run(*pip, "--only-binary", ":all:", *wanted, timeout_s=BUILD_TIMEOUT_S)
            with contextlib.suppress(FileExistsError):
                made.rename(ready)
    return ready


def lines_of(*command: str | Path, timeout_s: float, first: str = "", first_s: float = 0.0) -> Iterator[str]:
    """Print what a program at low priority says, line by line, and yield it; killed when its time is up.

    Args:
        command: the program, with its arguments.
        timeout_s: its time.
        first: what it has to say within ``first_s``, or is killed then.
    """
    process = subprocess.Popen(
        ["nice", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    _AT_WORK.add(process)
    alarms = [_Alarm(process, timeout_s), *([_Alarm(process, first_s)] if first else [])]
    try:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            print(line, flush=True)
            if first and first in line:
                alarms[1].cancel()
            yield line
    finally:
        for alarm in alarms:
            alarm.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
        _AT_WORK.discard(process)


class _Alarm(threading.Timer):
    """Kills a program when its time is up, and says so."""

    def __init__(self, process: subprocess.Popen[bytes], after_s: float) -> None:
        super().__init__(after_s, self._ring, (process, after_s))
        self.start()

    @staticmethod
    def _ring(process: subprocess.Popen[bytes], after_s: float) -> None:
        print(f"killed after {after_s:.0f} s: {process.args!r:.100}", flush=True)
        process.kill()


#: Programs that ``lines_of`` waits for, in whatever thread.
_AT_WORK: set[subprocess.Popen[bytes]] = set()


def stop_all() -> None:
    """End all programs that are listened to."""
    for process in list(_AT_WORK):
        process.kill()


def give_up() -> NoReturn:
    """End them, and then this program, as SIGTERM asks for."""
    stop_all()
    sys.exit(143)


def verdict(lines: Iterable[str], expected: Iterable[str]) -> int:
    """Print a table of what ``inside.py`` said; returns 0 when each expected run is there and went well, else 1."""
    results = {each["name"]: each for each in map(_result, lines) if each}
    print()
    for name in expected:
        print(f"{name:16}", (results.get(name) or {"text": "FAILED: no word from it"})["text"])
    return 0 if all(results.get(name, {}).get("good") for name in expected) else 1


def _result(line: str) -> dict[str, Any] | None:
    _, mark, rest = line.partition(MARK)
    result: dict[str, Any] | None = json.loads(rest) if mark else None
    return result

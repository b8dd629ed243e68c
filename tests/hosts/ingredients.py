"""What the guest and the containers are made of: a small Debian tree, kept between runs, and a folder handed in.

The tree holds Debian's own Python and its cloud kernel and knows nothing of this project; it is built once, with
debootstrap, into a cache.  The folder (``/project`` on the other side) holds what is tested, the libraries of the
``sandbox-test`` dependency group and ``inside.py``, which runs there; it is made anew for each run.  Called by
``qemu_guest.py`` and ``docker_host.py``.
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
from typing import Any

PROJECT = Path(__file__).parents[2]
#: Handed in: the sandbox, its tests, and how they are run.
HANDED_IN = ("pyproject.toml", "sandbox", "tests/conftest.py", "tests/hosts", "tests/sandbox")
SUITE = "bookworm"
PYTHON = (3, 11)  # of SUITE
PACKAGES = ("iproute2", "linux-image-cloud-amd64", "python3", "uidmap")
USER = "agent"  # uid and gid 1000
#: The kernel's first program: mounts the folder and leaves the rest to ``guest.sh`` in it.
INIT = "#!/bin/sh\nmount -o ro /dev/vdb /project\nexec /bin/sh /project/tests/hosts/guest.sh\n"
#: In bytes; the file is sparse.
DISK_BYTES = 1 << 30
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


def debian(cache: Path) -> Path:
    """Return a folder with ``vmlinuz``, ``initrd``, ``root.ext4`` and ``root.tar``; builds it if need be."""
    recipe = hashlib.sha256(repr((SUITE, PACKAGES, USER, INIT, DISK_BYTES)).encode()).hexdigest()[:12]
    ready = cache / f"debian-{SUITE}-{recipe}"
    if ready.is_dir():
        return ready
    print(f"building a Debian {SUITE} tree, once: about two minutes", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as scratch:
        tree, made = Path(scratch, "tree"), Path(scratch, "made")
        made.mkdir()
        _bootstrap(tree)
        for name, pattern in {"vmlinuz": "vmlinuz-*", "initrd": "initrd.img-*"}.items():
            shutil.copy(next((tree / "boot").glob(pattern)), made / name)
        shutil.rmtree(tree / "boot")
        # One file system for the kernel's modules and one archive without them.
        run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, made / "root.ext4", f"{DISK_BYTES >> 10}k")
        run("tar", "-C", tree, "--numeric-owner", "--exclude=./usr/lib/modules", "-cf", made / "root.tar", ".")
        with contextlib.suppress(FileExistsError):  # someone else was faster
            made.rename(ready)
    return ready


def _bootstrap(tree: Path) -> None:
    include = "--include=" + ",".join(PACKAGES)
    # In a mount namespace of its own, so that an end half-way leaves no /proc or /sys below the tree.
    run("unshare", "--mount", "debootstrap", "--variant=minbase", include, SUITE, tree, timeout_s=BUILD_TIMEOUT_S)
    run("chroot", tree, "useradd", "--create-home", "--uid", "1000", USER)
    for leftover in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(tree / leftover)
    (tree / "project").mkdir()
    init = tree / "sbin/sandbox-tests"
    init.write_text(INIT)
    init.chmod(0o755)


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


def lines_of(*command: str | Path, timeout_s: float) -> Iterator[str]:
    """Print what a program at low priority says, line by line, and yield it; killed when its time is up."""
    process = subprocess.Popen(
        ["nice", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    alarm = threading.Timer(timeout_s, process.kill)
    alarm.start()
    try:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            print(line, flush=True)
            yield line
    finally:
        if not alarm.is_alive():
            print(f"{command[0]} was killed after {timeout_s:.0f} s", flush=True)
        alarm.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


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

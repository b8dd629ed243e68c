"""Debian trees without a kernel, for a machine that boots systemd and for container images, and wheels for them.

A tree is built once, with debootstrap, into a cache, and copied for each run.  What is installed into it comes as
wheels that are fetched out here: neither a machine nor a container needs to reach a package index.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import ingredients

#: Programs that building takes, and the Debian packages that have them.
PROGRAMS = {"debootstrap": "debootstrap", "unshare": "util-linux"}
#: Not needed, and large.
_LEFTOVERS = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man")


def tree(cache: Path, packages: Iterable[str]) -> Path:
    """Return the folder of a Debian tree with these packages; nothing may be changed in it."""
    wanted = sorted(packages)
    recipe = hashlib.sha256(repr((ingredients.SUITE, wanted)).encode()).hexdigest()[:12]
    ready = cache / f"tree-{ingredients.SUITE}-{recipe}"
    if ready.is_dir():
        return ready
    print(f"building a Debian tree with {', '.join(wanted)}, once: about two minutes", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as scratch:
        made = Path(scratch, "tree")
        # In a mount namespace of its own, so that an end half-way leaves no /proc or /sys below the tree.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={','.join(wanted)}"]
        ingredients.run(*command, ingredients.SUITE, made, timeout_s=ingredients.BUILD_TIMEOUT_S)
        for leftover in _LEFTOVERS:
            shutil.rmtree(made / leftover, ignore_errors=True)
        with contextlib.suppress(OSError):  # someone else was faster
            made.rename(ready)
    return ready


def copy(source: Path, destination: Path) -> None:
    """Copy a tree, with owners, modes and device nodes."""
    ingredients.run("cp", "--archive", "--reflink=auto", source, destination)


def wheelhouse(folder: Path, extras: str = "") -> Path:
    """Fill a folder with the project's wheel and all that it and pipx need on the tree's Python; returns that wheel.

    Args:
        folder: is made.
        extras: of the project, as ``[gateway]``.
    """
    pip = [sys.executable, "-m", "pip"]
    ingredients.run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, ingredients.PROJECT, timeout_s=600)
    (wheel,) = folder.glob("edgeagent-*.whl")
    version = ".".join(map(str, ingredients.PYTHON))
    fetch = [*pip, "download", "--dest", folder, "--python-version", version, "--only-binary", ":all:"]
    ingredients.run(*fetch, f"{wheel}{extras}", "pip", "setuptools", "wheel", timeout_s=ingredients.BUILD_TIMEOUT_S)
    return wheel

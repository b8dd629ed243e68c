"""Debian trees for containers, for a machine that boots systemd and for virtual machines, kept between runs.

One is built with debootstrap and is as small as a base image; the other is a copy of it into which apt puts what the
machines need, so that Debian is unpacked once for all sessions.  Both know nothing of this project, and each run gets
copies.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import ingredients

#: Programs that building takes, and the Debian packages that have them.
PROGRAMS = {"debootstrap": "debootstrap", "unshare": "util-linux"}
#: Of a base image; Python and pip of the others trust by it, too.
BASE = ("ca-certificates",)
#: systemd itself, what `service install` and the sandbox use, what the operator's own commands are, and a kernel.
MACHINE = (
    "dbus",
    "dbus-user-session",
    "iproute2",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "pipx",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
    "uidmap",
)
USER = "agent"  # uid and gid 1000
#: The first program of a guest that only tests the sandbox: mounts what is handed in, and leaves the rest to a script.
INIT = """#!/bin/sh
mount -o ro /dev/vdb /project
exec /bin/sh /project/tests/hosts/guest.sh
"""
DISK_BYTES = 2 << 30  # of a machine; the file is sparse
_BUILD_S = 1800
#: Not needed, and large.
_LEFTOVERS = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man")
#: In namespaces of its own, so that an end half-way leaves no /proc below the tree and no process in it.
_APART = ("unshare", "--mount", "--pid", "--fork", "sh", "-ec", 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"')


def base(cache: Path) -> Path:
    """Return the folder of the small tree; nothing may be changed in it."""

    def build(made: Path) -> None:
        include = f"--include={','.join(BASE)}"
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase", include, ingredients.SUITE]
        ingredients.run(*command, made, mirror(), timeout_s=_BUILD_S)
        _tidy(made)

    return _once(cache, "base", (ingredients.SUITE, BASE, _LEFTOVERS), build)


def machine(cache: Path) -> Path:
    """Return the folder of the tree that boots; nothing may be changed in it."""

    def build(made: Path) -> None:
        copy(base(cache), made)
        policy = made / "usr/sbin/policy-rc.d"  # nothing is started in a tree that lies there
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        with contextlib.suppress(FileNotFoundError):
            shutil.copy("/etc/resolv.conf", made / "etc/resolv.conf")
        within(made, "apt-get", "update", "-q")
        within(made, "apt-get", "install", "-q", "-y", "--no-install-recommends", *MACHINE)
        within(made, "useradd", "--create-home", "--uid", "1000", "--shell", "/bin/sh", USER)
        policy.unlink()
        (made / "project").mkdir()
        init = made / "sbin/sandbox-tests"
        init.write_text(INIT)
        init.chmod(0o755)
        _tidy(made)

    return _once(cache, "machine", (ingredients.SUITE, BASE, _LEFTOVERS, MACHINE, USER, INIT), build)


def within(tree: Path, *command: str | Path, **environ: str) -> None:
    """Run a program in a tree as root, apart from this machine's processes and mounts.

    Raises:
        SystemExit: it failed.
    """
    given = {"DEBIAN_FRONTEND": "noninteractive", "HOME": "/root", "LANG": "C.UTF-8", "PATH": _PATH} | environ
    words = [f"{name}={value}" for name, value in given.items()]
    ingredients.run(*_APART, tree, "env", "-i", *words, *command, timeout_s=_BUILD_S)


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def disk(tree: Path, image: Path) -> None:
    """Make a disk of a tree."""
    ingredients.run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, image, f"{DISK_BYTES >> 10}k")


def packed(tree: Path, archive: Path) -> None:
    """Pack a tree as an image's only layer; a container has its host's kernel."""
    without = ("--exclude=./boot/*", "--exclude=./usr/lib/modules/*")
    ingredients.run("tar", "-C", tree, "--numeric-owner", *without, "-cf", archive, ".")


def copy(source: Path, destination: Path) -> None:
    """Copy a tree, with owners, modes and device nodes."""
    ingredients.run("cp", "--archive", "--reflink=auto", source, destination)


def mirror() -> str:
    """Return where this machine's apt has Debian itself from.

    Raises:
        SystemExit: nowhere.
    """
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in said.splitlines()]
    mirrors = [words[0] for words in found if words[-1] == ingredients.SUITE]
    if not mirrors:
        raise SystemExit(f"apt on this machine has no source of Debian's {ingredients.SUITE}; type: apt-get update")
    return mirrors[0]


def _once(cache: Path, name: str, recipe: tuple[object, ...], build: Callable[[Path], None]) -> Path:
    ready = cache / f"{name}-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}"
    if not ready.is_dir():
        print(f"building a Debian tree, once: {name}", flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as scratch:
            made = Path(scratch, "tree")
            build(made)
            with contextlib.suppress(OSError):  # someone else was faster
                made.rename(ready)
    return ready


def _tidy(tree: Path) -> None:
    for leftover in _LEFTOVERS:
        shutil.rmtree(tree / leftover, ignore_errors=True)

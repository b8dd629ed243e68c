"""What a run needs of the machine beyond processes: small disks that really fill, and clocks that can be set.

A disk is a tmpfs of a few MiB, mounted on a directory of the run's own.  A clock is a small library (``clock.c``) that
shifts the wall clock of the processes that preload it, live; the machine's own clock is not touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

#: Room for 2,000 jobs with their files, many times over, and for SQLite's log beside its file.
DISK_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20
_SOURCE = Path(__file__).with_name("clock.c")
#: Prints how far the wall clock and the steady clock are ahead of the kernel's.
_PROBE = """
import time
boot = float(open("/proc/uptime").read().split()[0])
print(round(time.time()), round(time.clock_gettime(time.CLOCK_BOOTTIME) - boot))
"""


class Disk:
    """A small file system on ``path``."""

    def __init__(self, path: Path, size_bytes: int = DISK_BYTES) -> None:
        self.path = path
        self._ballast = path / "ballast"
        path.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "a-test", str(path)]
        subprocess.run(mount, check=True, capture_output=True)

    def fill(self) -> None:
        """Fill it to the last byte."""
        with self._ballast.open("ab", buffering=0) as file:
            block = _BLOCK_BYTES
            while block:
                try:
                    file.write(b"\0" * block)
                except OSError:
                    block //= 2

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=True, capture_output=True)


class Clock:
    """The wall clock of one program; ``environ`` is what it must be started with."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._file, self._library = directory / "ahead", directory / "clock.so"
        self._file.write_bytes(bytes(8))
        command = [_compiler() or "cc", "-O2", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE)]
        subprocess.run(command, check=True, capture_output=True)

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables that give a program this clock."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)}

    def set(self, ahead_s: int) -> None:
        """Set it so many seconds ahead of the machine's, or behind; it counts from now on."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", ahead_s))


def no_disks(where: Path) -> str | None:
    """Return why no small disk can be had here, if so."""
    if os.geteuid() != 0:
        return "only root can mount a small disk"
    probe = where / "disk"
    try:
        Disk(probe, 1 << 20).remove()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no tmpfs can be mounted here: {error}"
    finally:
        with contextlib.suppress(OSError):
            probe.rmdir()
    return None


def no_clocks(where: Path) -> str | None:
    """Return why no clock can be set here, if so."""
    if _compiler() is None:
        return "there is no C compiler (Debian: gcc and libc6-dev)"
    try:
        clock = Clock(where / "clock")
    except subprocess.CalledProcessError as error:
        return f"the C compiler cannot build a library: {error.stderr.decode(errors='replace').strip()[-200:]}"
    shown = []
    for ahead_s in (0, 100_000):
        clock.set(ahead_s)
        command = [sys.executable, "-c", _PROBE]
        done = subprocess.run(command, env={**os.environ, **clock.environ}, capture_output=True, text=True, check=True)
        shown.append([int(number) for number in done.stdout.split()])
    (before, _), (after, steady) = shown
    if after - before < 100_000 or abs(steady) > 10:
        return f"a preloaded library does not set the wall clock, and that alone: {shown}"
    return None


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")

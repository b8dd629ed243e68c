"""``nox -s sandbox-v2``: the sandbox's tests in a virtual machine with Debian's cloud kernel and nothing but cgroup v2.

The machine is emulated in software, so that it runs where there is no /dev/kvm (``--accel kvm`` where there is one).
It has no network.  Both its disks are images of which it sees a throw-away copy; its serial console is what this
prints.  Which runs there are is in ``guest.sh``.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import ingredients

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "debootstrap": "debootstrap",
    "mke2fs": "e2fsprogs",
    "unshare": "util-linux",
}
#: In ``guest.sh``.
RUNS = ("root", "user", "undelegated")
#: What control groups of version 2 alone make different; without arguments, nothing else is run.
TESTS = (
    "tests/sandbox/test_sandbox_cgroups.py",
    "tests/sandbox/test_sandbox_devices.py",
    "tests/sandbox/test_sandbox_endings.py",
    "tests/sandbox/test_sandbox_walls.py",
)
MEMORY = "2G"
PROJECT_DISK = "128m"
KERNEL = "console=ttyS0 root=/dev/vda ro quiet panic=-1 init=/sbin/sandbox-tests cgroup_no_v1=all mitigations=off"


def main() -> int:
    """Boot, test, and return 0 when all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is kept between runs")
    parser.add_argument("--accel", default="tcg,thread=multi", help="qemu's -accel")
    parser.add_argument("--timeout", type=float, default=900, metavar="S", help="for the guest, from power-on")
    asked, for_pytest = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up first
    ingredients.need(PROGRAMS)
    debian = ingredients.debian(asked.cache.absolute())
    with (
        ingredients.handed_in(asked.cache.absolute(), for_pytest or TESTS) as folder,
        tempfile.TemporaryDirectory() as scratch,
    ):
        disk = Path(scratch, "project.ext4")
        ingredients.run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", folder, disk, PROJECT_DISK)
        started = time.monotonic()
        said = list(ingredients.lines_of(*_machine(debian, disk, asked.accel), timeout_s=asked.timeout))
        used_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        print(f"\nguest on for {time.monotonic() - started:.0f} s, {used_s:.0f} s of processor time")
    return ingredients.verdict(said, RUNS)


def _machine(debian: Path, disk: Path, accel: str) -> list[str]:
    """Return the command line that turns it on."""
    # Emulated, the C library's routines for the newest vector units are slower than the plain ones.
    processor = "host" if accel.startswith("kvm") else "Nehalem"
    command = ["qemu-system-x86_64", "-accel", accel, "-cpu", processor, "-smp", "2", "-m", MEMORY]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
    command += ["-kernel", str(debian / "vmlinuz"), "-initrd", str(debian / "initrd"), "-append", KERNEL]
    for image in (debian / "root.ext4", disk):
        command += ["-drive", f"file={image},if=virtio,format=raw,snapshot=on"]
    return command


if __name__ == "__main__":
    sys.exit(main())

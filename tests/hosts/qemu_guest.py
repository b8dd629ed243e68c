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
RUNS = ("root", "user")
#: What control groups of version 2 make different: groups, devices and granted devices, and the ends that a group's
#: limits and counts bring about; without arguments, nothing else is run.
TESTS = (
    "tests/sandbox/test_sandbox_cgroups.py",
    "tests/sandbox/test_sandbox_devices.py",
    *(
        f"tests/sandbox/test_sandbox_gpus.py::test_{name}"
        for name in (
            "the_group_refuses_a_node_that_got_in_by_mistake",
            "the_program_of_a_grant_replaces_the_one_of_all_jobs",
            "what_cannot_be_granted_is_one_line_and_leaves_nothing",
            "the_report_says_what_pins_devices",
        )
    ),
    *(
        f"tests/sandbox/test_sandbox_endings.py::test_{name}"
        for name in (
            "processor_time_of_children_is_counted",
            "a_chain_of_processes_has_one_processor_limit",
            "children_have_one_memory_limit_together",
            "a_job_that_allocates_too_much_has_hit_the_memory_limit",
            "processes_are_capped",
        )
    ),
)
ALL_TESTS = ("tests/sandbox",)
MEMORY = "2G"
PROJECT_DISK = "512m"  # sparse
KERNEL = "console=ttyS0 root=/dev/vda ro quiet panic=-1 init=/sbin/sandbox-tests cgroup_no_v1=all mitigations=off"


def main() -> int:
    """Boot, test, and return 0 when all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is kept between runs")
    parser.add_argument("--accel", default="tcg,thread=multi", help="qemu's -accel")
    parser.add_argument("--all", action="store_true", help="run every test of the sandbox, which takes an hour")
    parser.add_argument("--timeout", type=float, metavar="S", help="for the guest, from power-on (2700; --all: 10800)")
    asked, for_pytest = parser.parse_known_args()
    timeout_s = asked.timeout or (10800 if asked.all else 2700)
    tests = for_pytest or (ALL_TESTS if asked.all else TESTS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up first
    ingredients.need(PROGRAMS)
    debian = ingredients.debian(asked.cache.absolute())
    with (
        ingredients.handed_in(asked.cache.absolute(), tests) as folder,
        tempfile.TemporaryDirectory() as scratch,
    ):
        disk = Path(scratch, "project.ext4")
        ingredients.run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", folder, disk, PROJECT_DISK)
        started = time.monotonic()
        said = list(ingredients.lines_of(*_machine(debian, disk, asked.accel), timeout_s=timeout_s))
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

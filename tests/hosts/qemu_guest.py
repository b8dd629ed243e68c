"""``nox -s sandbox-v2``: the sandbox's tests in virtual machines with Debian's cloud kernel and nothing but cgroup v2.

One for the tests as root, one for those as an ordinary user, at the same time.  They have no network.  Their disks are
images of which each sees a throw-away copy; their serial consoles are what this prints.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ingredients
import qemu
import trees

PROGRAMS = qemu.PROGRAMS | trees.PROGRAMS
#: In ``guest.sh``.
RUNS = ("root", "user")
#: In the line that ``guest.sh`` says first.
UP = "up since"
#: What control groups of version 2 make different: groups, devices and granted devices, and the ends that a group's
#: limits and counts bring about; without arguments, nothing else is run.
TESTS = (
    "tests/sandbox/test_sandbox_cgroups.py",
    "tests/sandbox/test_sandbox_cores.py",
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
PROJECT_DISK = "512m"  # sparse


def main() -> int:
    """Boot, test, and return 0 when all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is kept between runs")
    parser.add_argument("--accel", default=qemu.TCG, help="qemu's -accel")
    parser.add_argument("--all", action="store_true", help="run every test of the sandbox, which takes an hour")
    parser.add_argument("--timeout", type=float, metavar="S", help="for a guest, from power-on (2700; --all: 10800)")
    asked, for_pytest = parser.parse_known_args()
    timeout_s = asked.timeout or (10800 if asked.all else 2700)
    tests = for_pytest or (ALL_TESTS if asked.all else TESTS)
    signal.signal(signal.SIGTERM, lambda *_: ingredients.give_up())
    ingredients.need(PROGRAMS)
    cache = asked.cache.absolute()
    tree = trees.machine(cache)
    with ingredients.handed_in(cache, tests) as folder, tempfile.TemporaryDirectory() as scratch:
        root, project = Path(scratch, "root.ext4"), Path(scratch, "project.ext4")
        trees.disk(tree, root)
        ingredients.run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", folder, project, PROJECT_DISK)

        def run(name: str) -> list[str]:
            words = ("init=/sbin/sandbox-tests", f"sandbox_tests={name}")
            return _said(qemu.command(tree, (root, project), *words, accel=asked.accel), timeout_s)

        started = time.monotonic()
        with ThreadPoolExecutor(len(RUNS)) as guests:
            said = [line for lines in guests.map(run, RUNS) for line in lines]
        used_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        print(f"\nguests on for {time.monotonic() - started:.0f} s, {used_s:.0f} s of processor time")
    return ingredients.verdict(said, RUNS)


def _said(command: list[str], timeout_s: float) -> list[str]:
    """Return what a guest says until it is off; it is turned on again where it stands still before its first word."""
    said: list[str] = []
    for _ in range(qemu.BOOTS):
        said = list(ingredients.lines_of(*command, timeout_s=timeout_s, first=UP, first_s=qemu.BOOT_S))
        if any(UP in line for line in said):
            break
    return said


if __name__ == "__main__":
    sys.exit(main())

"""What control groups add: limits on a job as a whole, which the kernel enforces and counts."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxing import HERE, LIMITS, as_nobody, hear, report_of, say, wait_until

from edgesandbox import Limits, Spec, Zygote, cgroupfs, cgroups, passing
from edgesandbox.client import CLONES_AHEAD
from edgesandbox.group import Group
from edgesandbox.lending import Lender
from edgesandbox.mounts import mounts

JOBS = int(os.environ.get("EDGESANDBOX_TEST_JOBS", "80"))
MOUNTINFO = """\
24 1 0:22 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
25 1 0:23 /outer /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
26 1 0:24 / /sys/fs/cgroup/cpu\\040and\\040more rw - cgroup cgroup rw,cpu,cpuacct
27 1 0:25 / /proc rw - proc proc rw
"""
GROUPS = "4:memory:/outer/service\n3:cpu,cpuacct:/slice\n1:name=systemd:/elsewhere\n0::/user.slice\n"


@pytest.fixture
def tier_a(zygote):
    """Skip where this host, or this user, has no control groups to give."""
    if zygote.tier != "A":
        pytest.skip(f"only root, or a delegated group: {zygote.not_enforced['cgroup_memory']}")


@pytest.fixture
def keeper() -> Iterator[cgroups.Keeper]:
    """A keeper of the test's own."""
    keeper, missing = cgroups.find()
    if keeper is None:
        pytest.skip(f"only root, or a delegated group: {missing['cgroup_memory']}")
    yield keeper
    keeper.close()


def in_group(keeper: cgroups.Keeper, limits: Limits, code: str, *arguments: str) -> object:
    """Run Python code in a group and nothing else, outside of any sandbox; returns what it prints."""
    names, fds = keeper.make(7)
    files = {name: fd for name, fd in zip(names, fds, strict=True) if name != "join"}
    joins = [fd for name, fd in zip(names, fds, strict=True) if name == "join"]
    group = Group(7, keeper.version, files, joins)

    def join() -> None:
        group.join()
        if group.directory is not None:  # version 2 has jobs born in it
            Path(f"/proc/self/fd/{group.directory}/cgroup.procs").write_text("0")

    try:
        group.limit(limits)
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            preexec_fn=join,
            capture_output=True,
            timeout=60,
            check=True,
        )
    finally:
        group.close()
        keeper.remove(7)
    return json.loads(done.stdout)


def test_mounts_are_found_by_what_the_kernel_lists():
    """Escaped names, mounts of a part of a hierarchy, several controllers in one."""
    found = {each.point: each for each in mounts(MOUNTINFO, GROUPS)}

    assert {
        "/sys/fs/cgroup/unified": ("cgroup2", "user.slice"),
        "/sys/fs/cgroup/memory": ("cgroup", "service"),
        "/sys/fs/cgroup/cpu and more": ("cgroup", "slice"),
    } == {point: (each.kind, each.own) for point, each in found.items()}


def test_tier_a_is_said_with_its_reasons(zygote, run, tier_a):
    """Memory, processes and processor time by the kernel; the report names the file of the peak."""
    report = run("noop").report

    assert "A" == report.tier
    assert {"cgroup_memory", "cgroup_pids", "cgroup_cpu"} <= set(report.enforced)
    assert "memory_watchdog" not in report.enforced
    assert report.memory_source.startswith("memory.")
    assert 1 << 16 < report.memory_peak_bytes < 64 << 20


@pytest.mark.parametrize("kind", ["shared anonymous", "memfd", "tmpfs", "socket buffers"])
def test_memory_of_every_kind_is_counted(run, tier_a, kind):
    """96 MiB do not go into 64 MiB, whatever they are; without the group, and the filter, nothing stops them."""
    limits = {"memory_bytes": 64 << 20, "nofile": 4000}

    held = run("greedy:hoard", [kind, 96 << 20], **limits)
    free = run("greedy:hoard", [kind, 96 << 20], **limits, without=["cgroup_memory", "seccomp"])

    assert ("memory_limit", None) == (held.report.outcome, held.answer)
    assert ("exited", "has it") == (free.report.outcome, free.answer)


def test_lack_of_memory_ends_all_processes_of_a_job(run, tier_a):
    """The kernel kills one of ten; the supervisor sees that and ends the others."""
    limits = {"memory_bytes": 128 << 20, "wall_s": 60}

    held = run("greedy:hoard_in_one_of_many", **limits)
    free = run("greedy:hoard_in_one_of_many", **limits, without=["cgroup_memory", "seccomp"])

    assert ("memory_limit", None) == (held.report.outcome, held.answer)
    assert held.report.wall_s < 30
    assert ("exited", "all alive") == (free.report.outcome, free.answer)


def test_a_supervisor_killed_for_its_jobs_memory_is_no_failure_of_the_sandbox(spawn, tier_a):
    """A job that is many small processes may be outlived by none of them; it is to blame all the same."""
    report = report_of(spawn("greedy:frame_the_supervisor", memory_bytes=64 << 20, pids=400, wall_s=80, cpu_s=80))

    assert "memory_limit" == report.outcome
    assert "A" == report.tier


def test_processor_time_that_nobody_collects_is_counted(run, tier_a):
    """25 times 0.1 s of children whose parent ignores SIGCHLD; without the group they pass unseen."""
    held = run("greedy:burn_disowned", cpu_s=1)
    free = run("greedy:burn_disowned", cpu_s=2, without=["cgroup_cpu"])

    assert ("cpu_limit", None) == (held.report.outcome, held.answer)
    assert 1 <= held.report.cpu_s < 2.5
    assert ("exited", "done") == (free.report.outcome, free.answer)
    assert free.report.cpu_s < 2  # its own, for 25 forks, which take an emulated processor a second


HEADROOM = """
import json
from edgesandbox.headroom import Headroom
before = Headroom().share()
taken = bytearray(b"x") * (48 << 20)
print(json.dumps([before, Headroom().share()]))
"""


def test_the_limit_of_a_group_is_seen_by_those_in_it(keeper):
    """A process that fills its own group, as an agent in a container would, sees what is left of the limit go."""
    before, after = in_group(keeper, Limits(memory_bytes=64 << 20), HEADROOM)

    assert before > 0.5
    assert after < 0.25


BOMB = """
import os, sys, time
children = []
try:
    while len(children) < 60:
        child = os.fork()
        if child == 0:
            time.sleep(600)
        children.append(child)
except OSError:
    pass
print(len(children))
for child in children:
    os.kill(child, 9)
"""


def test_a_fork_bomb_stays_below_the_groups_limit(keeper):
    """With the group alone; a larger limit lets it through."""
    assert 20 == in_group(keeper, Limits(pids=20), BOMB)
    assert 60 == in_group(keeper, Limits(pids=200), BOMB)


def test_a_job_cannot_reach_its_groups(run, tier_a):
    """It sees neither the file system nor a descriptor of one, and its own is the top of all that it is told of."""
    groups, visible, open_files, supervisors_files = run("greedy:own_control_groups").answer

    assert {"/"} == {line.split(":", 2)[2] for line in groups.splitlines()}
    assert [] == visible
    assert [] == [path for path in open_files if "cgroup" in path or "memory." in path or "pids." in path]
    assert {"PermissionError 13", "FileNotFoundError 2"} >= set(supervisors_files)


def groups_of(zygote: Zygote) -> list[Path]:
    """Return every group that a zygote's launcher has made, by looking at the host."""
    command = ["find", "/sys/fs/cgroup", "-path", f"*/{cgroupfs.PREFIX}{zygote._process.pid}/[0-9]*", "-type", "d"]
    return [Path(line) for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines()]  # noqa: PLW1510 - what goes while it looks is an error to find


def test_no_group_is_left_over(tier_a):
    """After jobs that end, are killed, are abandoned and lack memory, as many as before; none after close."""
    choose = random.Random(seed := random.randrange(1 << 32))
    with Zygote(entry="hostile:noop", import_paths=[HERE]) as zygote:
        (directory, *others) = {path.parent for path in groups_of(zygote)}
        ahead = CLONES_AHEAD if others else 0  # version 2 has one directory, and needs none
        idle = (ahead + 1) * (1 + len(others))
        for _ in range(JOBS):
            own = [f"hostile:{program}" for program in ("noop", "sleep", "outlive", "deaf", "fail")]
            entry = choose.choice([*own, "gluttons:allocate_in_children"])
            limits = Limits(wall_s=20, memory_bytes=256 << 20)  # each child may have what all of them may not
            with zygote.spawn(Spec(entry=entry, limits=limits)) as box:
                if choose.random() < 0.5:
                    hear(box)
                choose.choice([box.kill, box.cancel, box.close, lambda: None])()
        wait_until(lambda: len(groups_of(zygote)) == idle), f"seed {seed}"

    assert not any(path.exists() for path in (directory, *others))


def test_groups_of_a_killed_launcher_are_removed_by_the_next(zygote, tier_a):
    """Those that are in use by another one stay."""
    with Zygote(entry="hostile:noop", import_paths=[HERE]) as killed:
        left, kept = groups_of(killed)[0].parent, groups_of(zygote)[0].parent
        killed._process.kill()
        wait_until(lambda: not killed.alive)
        assert left.exists()

        killed.restart()

        assert not left.exists()
        assert kept.exists()
        with zygote.spawn(Spec(limits=LIMITS)) as box:
            assert "here" == hear(box)


def test_two_jobs_at_once_are_counted_apart(spawn, tier_a):
    """One that has used up its memory leaves the other alone."""
    victim = spawn("tidy_up", memory_bytes=64 << 20)
    hear(victim)
    hungry = spawn("greedy:hoard", memory_bytes=64 << 20)
    say(hungry, ["shared anonymous", 96 << 20])

    assert "memory_limit" == report_of(hungry).outcome
    victim.cancel()
    report = report_of(victim)
    assert ("cancelled", 3) == (report.outcome, report.exit_code)
    assert report.memory_peak_bytes < 32 << 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_without_a_group_of_his_own_is_told_why():
    """Tier B, each protection with the reason and what to do about it."""
    command = as_nobody(sys.executable, "-m", "edgesandbox", "check", "--json")

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    found = json.loads(done.stdout)
    assert "B" == found["tier"]
    for name in ("cgroup_memory", "cgroup_pids", "cgroup_cpu"):
        assert "Permission denied" in found["not_enforced"][name]
        assert "start as root, or by systemd with Delegate=yes" in found["not_enforced"][name]
    assert "start as root;" in found["not_enforced"]["cgroup_devices"]
    assert "memory_watchdog" in found["enforced"]


def test_only_groups_that_were_made_can_be_removed():
    """A zygote that names something else, a path perhaps, is not obeyed."""
    made, removed = [], []

    class Kept:
        version, protections, missing = 1, (), {}

        def make(self, number):
            made.append(number)
            return [], []

        def remove(self, number):
            removed.append(number)

    ours, theirs = passing.pair()
    with ours, theirs:
        for request in ({"make": True}, {"remove": "../../memory"}, {"remove": 2}, {"remove": 1}, {"remove": 1}):
            passing.send(theirs, request)
        theirs.shutdown(socket.SHUT_WR)
        cgroups.serve(ours, Kept(), Lender([]))

    assert ([1], [1]) == (made, removed)

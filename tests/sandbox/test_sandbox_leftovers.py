"""A thousand jobs with random kills leave nothing behind; and neither do agents that are killed.

``EDGESANDBOX_TEST_JOBS`` is how many jobs each of the two kinds gets (500, so a thousand in all), and
``EDGESANDBOX_TEST_SEED`` what their fates are drawn from; it is printed, and a failed run can be had again by it.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sandboxing import HERE, LIMITS, control_groups, family, hear, mounts, report_of, runs, settled, wait_until

from edgesandbox import Box, SandboxUnavailable, SetupFailed, Spec, Zygote
from edgesandbox.networks import MOST_SPARE

JOBS = int(os.environ.get("EDGESANDBOX_TEST_JOBS", "500"))
SEED = int(os.environ.get("EDGESANDBOX_TEST_SEED", random.randrange(1 << 32)))
WARM = 2
#: Times that a sandbox is asked for after one shot: those that wait may be shot too, and a zygote takes time to die.
MOST_ASKED = 5
PROGRAMS = [b"noop", b"noop", b"noop", b"sleep", b"outlive", b"deaf", b"fail", b"fill_all", b"leave_everything"]
SPEC = Spec(limits=LIMITS)


class Counted:
    """A zygote and everything of it that can be counted from outside."""

    def __init__(self, zygote: Zygote) -> None:
        self.zygote = zygote

    @property
    def launcher(self) -> int:
        """The launcher's pid."""
        assert self.zygote._process is not None
        return self.zygote._process.pid

    def by_role(self) -> dict[str, list[int]]:
        """Return the pids of the zygote, the supervisors and the jobs that there are."""
        parents = family(self.launcher)
        zygotes = [pid for pid, parent in parents.items() if parent == self.launcher]
        supervisors = [pid for pid, parent in parents.items() if parent in zygotes]
        return {
            "launcher": [self.launcher],
            "zygote": zygotes,
            "supervisor": sorted(supervisors),
            "job": sorted(set(parents) - set(zygotes) - set(supervisors)),
        }

    def state(self) -> dict[str, Any]:
        """Count it all; two of these are compared."""
        roles = self.by_role()
        (zygote,) = roles["zygote"]
        return {
            "ready": self.zygote.ready,
            "processes": {role: len(pids) for role, pids in roles.items()},
            "agent's descriptors": len(os.listdir("/proc/self/fd")),
            "launcher's descriptors": descriptors(self.launcher)[0],
            "zygote's descriptors": descriptors(zygote)[0],
            "too many networks": descriptors(zygote)[1] > MOST_SPARE + WARM + 1,
            "agent's mounts": mounts(),
            "zygote's mounts": len(Path(f"/proc/{zygote}/mountinfo").read_text().splitlines()),
            "control groups": len(control_groups([self.launcher])),
            "files and shared memory": owned_by_jobs(zygote),
        }


def descriptors(pid: int) -> tuple[int, int]:
    """Return how many descriptors a process has, and how many network namespaces of all that."""
    names = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    networks = sum(name.startswith("net:") for name in names)
    return len(names) - networks, networks


def owned_by_jobs(zygote: int) -> int:
    """Return how many files and segments of shared memory the users of jobs have outside of their namespaces."""
    if os.geteuid() != 0:
        return 0  # its jobs and whoever else runs as this user cannot be told apart
    first, count = map(int, Path(f"/proc/{zygote}/uid_map").read_text().split()[1:3])
    segments = [int(line.split()[7]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    found = sum(first <= user < first + count for user in segments)
    for directory in ("/tmp", "/dev/shm", "/var/tmp"):
        for entry in os.scandir(directory):
            with contextlib.suppress(FileNotFoundError):
                found += first <= entry.stat(follow_symlinks=False).st_uid < first + count
    return found


def give_fate(box: Box, choose: random.Random, counted: Counted) -> str | None:
    """Let one thing happen to a job at a time of its own; returns the outcome where it is waited for."""
    with contextlib.suppress(BrokenPipeError):
        box.channel.sendall(choose.choice(PROGRAMS) + b"\n")
    if choose.random() < 0.5:
        select.select([box.control], [], [], choose.random() * 0.03)  # some way into it, or its end
    fate = choose.choices(
        ["leave", "kill", "cancel and wait", "kill and wait", "shoot job", "shoot supervisor", "wait"],
        [4, 3, 1, 3, 2, 2, 1],
    )[0]
    if fate.startswith("kill"):
        box.kill()
    elif fate.startswith("cancel"):
        box.cancel()
        select.select([box.control], [], [], 0.05)
        box.kill()
    elif fate.startswith("shoot"):
        shoot(counted, fate.removeprefix("shoot "), choose)
        box.kill()
    elif fate == "wait":
        select.select([box.control], [], [], 0.1)
        box.kill()
    return report_of(box).outcome if fate.endswith("wait") else None


def shoot(counted: Counted, role: str, choose: random.Random) -> None:
    """Kill one process of a role, by somebody outside."""
    with contextlib.suppress(ProcessLookupError, IndexError):  # none, or gone meanwhile
        os.kill(choose.choice(counted.by_role()[role]), signal.SIGKILL)


def spawn(counted: Counted, restarts: Counter[str]) -> Box:
    """Return a box; where the zygote is gone, say so and start another one first, as a node does."""
    for _ in range(MOST_ASKED):
        try:
            return counted.zygote.spawn(SPEC)
        except SetupFailed:  # it may be dying still; and what was shot may also have been a sandbox that waited
            restarts["asked again"] += 1
            if not counted.zygote.alive:
                counted.zygote.restart()
    return counted.zygote.spawn(SPEC)


def answers(box: Box) -> bool:
    """Say whether a job works; one that was shot while it waited, and is handed out in that instant, does not."""
    with box, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        box.channel.sendall(b"noop\n")
        return hear(box) == "here"
    return False


@pytest.mark.parametrize("warm", [0, WARM], ids=["cold", "warm"])
def test_a_thousand_jobs_with_random_kills_leave_nothing(warm):
    """As many processes, mounts, control groups, descriptors, networks and files as before the first of them."""
    choose = random.Random(SEED)
    print(f"EDGESANDBOX_TEST_SEED={SEED}")
    happened: Counter[str] = Counter()
    with Zygote(entry="hostile:obey", import_paths=[HERE], warm=warm, warm_limits=LIMITS) as zygote:
        counted = Counted(zygote)
        wait_until(lambda: zygote.ready == warm)
        before = settled(counted.state)
        launchers = set()
        for number in range(JOBS):
            launchers.add(counted.launcher)
            if number % 100 == 50:
                victim = choose.choice(["zygote", "launcher"])
                shoot(counted, victim, choose)
                happened[victim] += 1
            with spawn(counted, happened) as box:
                happened[give_fate(box, choose, counted) or "left"] += 1

        assert any(answers(spawn(counted, happened)) for _ in range(MOST_ASKED))
        wait_until(lambda: zygote.ready == warm, 30)
        wait_for_equal(counted.state, before)
        launchers.add(counted.launcher)
    print(dict(happened))
    assert happened["zygote"] + happened["launcher"] == JOBS // 100 + (JOBS % 100 > 50)
    assert [] == control_groups(launchers)


def wait_for_equal(state: Callable[[], dict[str, Any]], before: dict[str, Any]) -> None:
    """Wait until everything is as it was; what is not is named."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: state() == before, 30)
    after = state()
    assert {} == {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def test_what_is_left_would_be_seen():
    """One box that is not closed shows up as processes, descriptors, and a control group where there are any."""
    with Zygote(entry="hostile:deaf", import_paths=[HERE]) as zygote:
        counted = Counted(zygote)
        before = settled(counted.state)
        box = zygote.spawn(SPEC)
        hear(box)
        after = settled(counted.state)
        box.close()

    different = {name for name in before if before[name] != after[name]}
    assert {"processes", "agent's descriptors"} <= different
    assert ("control groups" in different) == (zygote.tier == "A")


AGENT = """
import os, sys
sys.path[:0] = sys.argv[1:]
from edgesandbox import Spec, Zygote
zygote = Zygote(entry="hostile:deaf", import_paths=sys.argv[2:], warm=1)
print("starting", flush=True)
zygote.start()
while True:
    box = zygote.spawn(Spec())
    print(box.channel.recv(100).decode().strip(), flush=True)
    box.close()
"""


def test_agents_killed_at_any_time_leave_nothing():
    """While they start a zygote, or are at work; what the kernel does not bury, the next launcher removes."""
    choose = random.Random(SEED)
    package = str(Path(str(sys.modules["edgesandbox"].__file__)).parents[1])
    everybody: set[int] = set()
    for _ in range(10):
        command = [sys.executable, "-c", AGENT, package, str(HERE)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as agent:
            assert agent.stdout is not None
            agent.stdout.readline()
            select.select([agent.stdout], [], [], choose.random())
            agent.send_signal(signal.SIGSTOP)  # it starts nobody any more whom this would miss
            everybody |= {agent.pid, *family(agent.pid)}
            agent.kill()

    wait_until(lambda: not any(runs(pid) for pid in everybody), 20)
    with contextlib.suppress(SandboxUnavailable), Zygote(entry="hostile:noop", import_paths=[HERE]):
        pass
    assert [] == control_groups(everybody)

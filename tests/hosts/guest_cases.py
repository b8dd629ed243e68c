"""``nox -s node-v2``: the installed unit in tier A, on an emulated machine that has nothing but cgroup v2.

What the unit does besides is in ``systemd_cases.py``, on a machine that is not emulated but has its host's control
groups.  The cases go on from each other in the order in which they stand.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import beside
import guest_machine
import ingredients
import installed
import pytest
from beside import Gateway, until
from guest_groups import Group, groups
from guest_machine import Guest

import operator_guide

CACHE = Path(os.environ.get("EDGEAGENT_HOSTS_CACHE") or ingredients.PROJECT / ".nox/.cache/hosts").absolute()
UNIT = "edgeagent.service"
HOME = "/var/lib/edgeagent"
AS_NODE = ("sudo", "-u", "edgeagent", f"EDGEAGENT_HOME={HOME}", "edgeagent")
#: Emulated on a busy host, a node takes minutes to start.
PATIENCE_S = 900.0
#: The gateway's usual: a machine that is emulated on a busy host is silent for some seconds now and then.
HEARTBEAT_S = 15
#: Long enough to be looked at, and for a stop to be asked for, before the job has ended by itself.
HELD_S = 45
#: The unit waits ten seconds before it starts a node again; jobs get less than the machine's one processor.
DROP_IN = "[Service]\nRestartSec=1\nEnvironment=EDGEAGENT_SHARE_CORES=0.9\n"
CPU_MAX = "90000 100000"
MEMORY_BYTES, PIDS = 300 << 20, 99
#: A kind of work that takes more memory than it may, of a sort that no limit on one process counts.
GREEDY = """\
import mmap

from edgeagent.plugins import BaseWorkerPlugin


class Greedy(BaseWorkerPlugin):
    job_type = "greedy"

    async def execute(self, job_id, payload):
        shared = mmap.mmap(-1, 1 << 30)
        for page in range(0, len(shared), mmap.PAGESIZE):
            shared[page] = 1
"""


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    with beside.gateway(heartbeat_s=HEARTBEAT_S) as one:
        yield one


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """Booted, with edgeagent installed as docs/service.md says."""
    ingredients.need(guest_machine.PROGRAMS)
    with tempfile.TemporaryDirectory(prefix="guest-") as scratch:
        root = Path(scratch, "root")
        installed.tree(CACHE, root)
        started = time.monotonic()
        with guest_machine.booted(root, Path(scratch)) as one:
            print(f"\nup after {time.monotonic() - started:.0f} s: {one.run('uname', '-r').strip()}")
            yield one
        print(f"\non for {time.monotonic() - started:.0f} s")


def held(guest: Guest, gateway: Gateway) -> tuple[str, dict[str, Group]]:
    """Submit a job that stays for a while; returns its id, and the groups once it is at work in one of its own."""
    limits = {"memory_bytes": MEMORY_BYTES, "pids": PIDS}
    job = gateway.submit_in_full("hold", {"seconds": HELD_S}, limits=limits)
    gateway.becomes(job, "RUNNING", PATIENCE_S)  # accepted; its sandbox takes a while yet

    def at_work() -> dict[str, Group] | None:
        found = groups(guest, UNIT)
        return found if any(one.pids for one in of_jobs(found).values()) else None

    found: dict[str, Group] = until(at_work, "a group with a job", PATIENCE_S)
    return job, found


def of_jobs(found: dict[str, Group]) -> dict[str, Group]:
    """Return the groups that have this test's limits."""
    return {path: one for path, one in found.items() if one.memory_max == str(MEMORY_BYTES)}


def linked(guest: Guest) -> bool:
    return guest.shown(UNIT, "StatusText").startswith("Linked")


def plugin(guest: Guest, name: str, text: str) -> None:
    guest.run("sh", "-c", 'printf %s "$0" > "$1"', text, f"{HOME}/plugins/{name}.py")


def test_the_machine_has_nothing_but_version_2(guest: Guest) -> None:
    """As every Debian since 11 has it; systemd delegates what the sandbox needs."""
    assert "cgroup2fs" == guest.run("stat", "-f", "-c", "%T", "/sys/fs/cgroup").strip()
    assert "cgroup" not in {line.split()[2] for line in guest.run("cat", "/proc/mounts").splitlines()}
    assert {"cpu", "memory", "pids"} <= set(guest.run("cat", "/sys/fs/cgroup/cgroup.controllers").split())


def test_the_unit_is_started_by_the_guides_commands(guest: Guest, gateway: Gateway) -> None:
    """A start returns when the node is up, and the unit is as closed as it is on other machines."""
    url = gateway.url.replace("127.0.0.1", guest_machine.HOST)
    *before, start = operator_guide.command("service", {operator_guide.GATEWAY: url}).splitlines()
    guest.run("sh", "-ec", "\n".join(before))
    guest.run("install", "-d", "-o", "edgeagent", f"{HOME}/plugins", f"/etc/systemd/system/{UNIT}.d")
    plugin(guest, "hold", beside.HOLD)
    plugin(guest, "greedy", GREEDY)
    guest.run("sh", "-c", 'printf %s "$0" > "$1"', DROP_IN, f"/etc/systemd/system/{UNIT}.d/quicker.conf")
    guest.run("systemctl", "daemon-reload")
    guest.run("sh", "-ec", start)

    shown = [guest.shown(UNIT, name) for name in ("ActiveState", "Type", "Delegate", "NRestarts")]
    assert ["active", "notify", "yes", "0"] == shown
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", guest.run("systemd-analyze", "security", UNIT))
    assert exposure is not None
    assert float(exposure[1]) <= 3.0
    until(lambda: linked(guest), "a link", PATIENCE_S)


def test_doctor_says_tier_a(guest: Guest) -> None:
    """In a person's shell, which has no control group of its own: it is the running node's tier that counts."""
    found = {one["check"]: one for one in json.loads(guest.done(*AS_NODE, "doctor", "--json").stdout)["checks"]}

    print(f"\n{found['sandbox']['text']}")
    assert "PASS" == found["sandbox"]["level"]
    assert "tier A" in found["sandbox"]["text"]


def test_a_job_has_a_group_of_its_own_in_the_units_subtree(guest: Guest, gateway: Gateway) -> None:
    """The kernel holds the job to its memory, processes and processor time there; its user is not the agent's."""
    agent = int(guest.run("id", "-u", "edgeagent"))
    job, found = held(guest, gateway)

    for path, group in sorted(found.items()):
        print(f"\n{path}: {group}", end="")
    ((path, own),) = of_jobs(found).items()
    assert PIDS <= int(own.pids_max) <= PIDS + 2  # those that keep it are in it, too
    assert {CPU_MAX} == {one.cpu_max for above, one in found.items() if above == str(Path(path).parent)}
    assert agent == own.owner == found["."].owner
    assert set(own.pids.values()) - {agent, 0}
    assert {agent} == set(found["edgesandbox.agent"].pids.values())
    assert int(guest.shown(UNIT, "MainPID")) in found["edgesandbox.agent"].pids
    sandbox = gateway.becomes(job, "COMPLETED", PATIENCE_S)["attempts"][-1]["sandbox"]
    assert "A" == sandbox["tier"]
    assert {"cgroup_memory", "cgroup_pids", "cgroup_cpu", "cores_quota"} <= set(sandbox["enforced"])
    until(lambda: not of_jobs(groups(guest, UNIT)), "the end of the job's group", PATIENCE_S)


def test_too_much_memory_is_the_jobs_end_and_nobody_elses(guest: Guest, gateway: Gateway) -> None:
    """By the kernel, in the job's group: the agent, its unit and its link live on."""
    agent, killed = guest.shown(UNIT, "MainPID"), groups(guest, UNIT)["."].oom_kills
    job = gateway.submit_in_full("greedy", {}, limits={"memory_bytes": MEMORY_BYTES}, max_attempts=1)

    done = gateway.becomes(job, "FAILED", PATIENCE_S)
    assert "memory_limit" == done["attempts"][-1]["outcome"], json.dumps(done)
    assert groups(guest, UNIT)["."].oom_kills > killed
    assert ("active", agent) == (guest.shown(UNIT, "ActiveState"), guest.shown(UNIT, "MainPID"))
    assert linked(guest)


def test_a_killed_agent_leaves_no_process_and_no_group(guest: Guest, gateway: Gateway) -> None:
    """kill -9 with a job at work: systemd starts the unit in a clean subtree, and another attempt does the job."""
    job, before = held(guest, gateway)
    guest.run("sh", "-c", f"kill -KILL {guest.shown(UNIT, 'MainPID')}")

    until(lambda: guest.shown(UNIT, "NRestarts") == "1" and linked(guest), "a new agent", PATIENCE_S)
    after = groups(guest, UNIT)
    assert not _pids(before) & _pids(after)
    assert not _pids(before) & {int(word) for word in guest.run("ls", "/proc").split() if word.isdecimal()}
    assert {".", "edgesandbox.agent"} == before.keys() & after.keys()
    done: dict[str, Any] = gateway.becomes(job, "COMPLETED", PATIENCE_S)
    assert 2 == len(done["attempts"])


def test_stop_drains_and_takes_the_subtree_away(guest: Guest, gateway: Gateway) -> None:
    """The job that is at work ends first, and its result arrives."""
    job, _ = held(guest, gateway)
    guest.run("systemctl", "stop", "edgeagent")

    assert "success" == guest.shown(UNIT, "Result")
    done = gateway.job(job)
    assert ("COMPLETED", 1) == (done["status"], len(done["attempts"])), json.dumps(done)
    assert {} == groups(guest, UNIT)


def _pids(found: dict[str, Group]) -> set[int]:
    return {pid for one in found.values() for pid in one.pids}

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

import beside
import guest_machine
import ingredients
import installed
import pytest
from beside import Gateway, until
from guest_groups import groups
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
#: Jobs get less than the machine's one processor.
DROP_IN = "[Service]\nEnvironment=EDGEAGENT_SHARE_CORES=0.9\n"
CPU_MAX = "90000 100000"


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


def linked(guest: Guest) -> bool:
    return guest.shown(UNIT, "StatusText").startswith("Linked")


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
    guest.run("install", "-d", f"/etc/systemd/system/{UNIT}.d")
    guest.run("sh", "-c", 'printf %s "$0" > "$1"', DROP_IN, f"/etc/systemd/system/{UNIT}.d/share.conf")
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


def test_the_units_subtree_is_shared_out(guest: Guest) -> None:
    """The agent is in a leaf; beside it is one group, for those of the jobs, which holds all of them to their share."""
    agent, found = int(guest.run("id", "-u", "edgeagent")), groups(guest, UNIT)

    for path, group in sorted(found.items()):
        print(f"\n{path}: {group}", end="")
    assert {agent} == {one.owner for one in found.values()} == set(found["edgesandbox.agent"].pids.values())
    assert not found["."].pids
    assert 1 == sum(one.cpu_max == CPU_MAX for one in found.values())

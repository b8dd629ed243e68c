"""What to type for a protection that a host does not give: for every one that can be missing."""

from __future__ import annotations

import dataclasses

import pytest

from edgesandbox import protections, remedies
from edgesandbox.diagnose import CONTAINER_MARKS
from edgesandbox.remedies import NOTHING, TYPE, Host

PLAIN = Host(
    root=False,
    container=False,
    systemd=True,
    groups=True,
    memory_off=False,
    lsm="lockdown,yama",
    landlock_off=True,
    namespaces="type: sudo sysctl -w user.max_user_namespaces=15000",
)


@pytest.mark.parametrize("tier_c", [False, True])
def test_every_missing_protection_has_a_line(tier_c):
    """One that can be typed, or one that says why there is none."""
    missing = protections.without_namespaces(separate_ids=False)[1] if tier_c else protections.MISSING
    for name, reason in missing.items():
        line = remedies.remedy(name, reason, PLAIN)
        assert line.startswith((TYPE, NOTHING)), name
        assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "host", "says"),
    [
        ("cgroup_memory", {}, "type: systemd-run --user --scope --property=Delegate=yes"),
        ("cgroup_devices", {}, "type: sudo edgesandbox check"),
        ("cgroup_memory", {"systemd": False}, "type: sudo edgesandbox check"),
        ("cgroup_memory", {"memory_off": True}, "type: add cgroup_enable=memory"),
        ("cgroup_pids", {"memory_off": True, "root": True, "groups": False}, "type: sudo mount -t cgroup2"),
        ("cgroup_pids", {"root": True}, "nothing to type: this kernel has no such controller"),
        ("cgroup_cpu", {"root": True, "container": True}, "nothing to type: a container"),
        ("landlock", {}, "type: sudo grubby --update-kernel=ALL --args=lsm=landlock,lockdown,yama "),
        ("landlock", {"landlock_off": False}, "nothing to type: Landlock of version 2 comes with Linux 5.19"),
        ("seccomp", {}, "nothing to type: jobs can be filtered on x86-64"),
    ],
)
def test_the_line_fits_the_host(name, host, says):
    """What is right on one host is no help on another."""
    assert remedies.remedy(name, protections.MISSING[name], dataclasses.replace(PLAIN, **host)).startswith(says)


def test_a_command_in_the_reason_goes_first():
    """What found the fault knows best; what follows the command is not typed."""
    reason = "alice has too few ids; type: sudo usermod --add-subuids 1-9 alice; jobs share one"

    assert remedies.remedy("separate_user_id", reason, PLAIN) == "type: sudo usermod --add-subuids 1-9 alice"


def test_a_host_is_read_from_its_files(tmp_path):
    """Without guessing by versions: what is mounted, switched off, and which modules there are."""
    for path, text in {
        "proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t1\t1\nmemory\t0\t1\t0\n",
        "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/kernel/security/lsm": "capability,apparmor",
        "sys/fs/cgroup/cgroup.controllers": "cpu pids\n",
        "run/systemd/system/x": "",
        "proc/sys/user/max_user_namespaces": "0\n",
        CONTAINER_MARKS[0].lstrip("/"): "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    host = remedies.look(tmp_path)

    assert (True, True, True, True) == (host.container, host.systemd, host.groups, host.memory_off)
    assert "capability,apparmor" == host.lsm
    assert "type: sudo sysctl -w user.max_user_namespaces=15000" == host.namespaces


def test_a_host_without_those_files_is_read_all_the_same(tmp_path):
    """As in a container that shows few of them."""
    host = remedies.look(tmp_path)

    assert (False, False, False, False) == (host.container, host.systemd, host.groups, host.memory_off)
    assert "" == host.lsm

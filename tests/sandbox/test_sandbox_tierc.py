"""Tier C, forced upon a host that can do better: its hostile programs, its refusals, its filter."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from interpreter import verdict
from sandboxing import HERE, as_nobody, as_root

from edgesandbox import SandboxUnavailable, Zygote, seccomp, tierc_filter

CASES = HERE / "tier_c_cases.py"


@pytest.mark.parametrize("who", [pytest.param("root", marks=pytest.mark.needs("root")), "user"])
def test_the_abuse_list_holds_in_tier_c(who):
    """As far as tier C promises; for root, whose jobs have users of their own, and for an ordinary user."""
    tests = (sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", str(CASES))
    by = as_root if who == "root" else as_nobody
    command = by(*tests) if os.geteuid() == 0 else list(tests)

    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd="/tmp", check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "skipped" not in done.stdout.splitlines()[-1]


@pytest.mark.needs("root", "setpriv")
def test_a_host_without_namespaces_is_tier_c_only_where_that_is_allowed():
    """Refused with one line that says how to allow it; allowed, the check says what is missing."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    outer = ("unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", "setpriv", "--bounding-set=-all")
    command = as_nobody(*outer, sys.executable, "-m", "edgesandbox", "check")

    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (1, "", 1) == (refused.returncode, refused.stdout, refused.stderr.count("\n"))
    assert "allow the weaker tier C (edgesandbox: --allow-tier-c" in refused.stderr


@pytest.mark.parametrize("missing", ["landlock", "seccomp"])
def test_a_host_with_too_little_for_tier_c_is_refused(missing, monkeypatch):
    """Without Landlock or without a filter there would be no wall at all; one line says which."""
    from edgesandbox import tierc_zygote

    if missing == "landlock":
        monkeypatch.setattr("edgesandbox.landlock.abi", lambda: 0)
    else:
        monkeypatch.setattr("platform.machine", lambda: "riscv64")

    with pytest.raises(SandboxUnavailable, match="this host cannot confine jobs at all"):
        tierc_zygote.find_host({"import_paths": [], "read_only": [], "hidden": [], "binds": [], "network": "empty"})


def test_an_unknown_choice_is_refused():
    """Before anything is started."""
    with pytest.raises(ValueError, match="tier_c must be one of refuse, allow, force, not 'yes'"):
        Zygote(entry="builtins:print", tier_c="yes")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("landlock", [1, 2, 5, 6])
def test_what_landlock_does_not_guard_the_filter_does(machine, landlock):
    """Before version 3 it denies truncate; before 6 all signals but to oneself, unless the user is one's own."""
    column = seccomp.ARCHES[machine][1]
    truncate, kill = (tierc_filter.NUMBERS[name][column] for name in ("truncate", "kill"))

    def says(number, *arguments, separate_id=False):
        code = tierc_filter.program(pid=77, landlock=landlock, separate_id=separate_id, machine=machine)
        return verdict(code, number, arguments, seccomp.ARCHES[machine][0])

    denied, allowed = seccomp.RET_ERRNO | errno.EPERM, seccomp.RET_ALLOW
    assert (denied if landlock < 3 else allowed) == says(truncate)
    assert (denied if landlock < 6 else allowed) == says(kill, 1)
    assert (denied if landlock < 6 else allowed) == says(kill, 0xFFFFFFFF)
    assert {allowed} == {says(kill, pid) for pid in (0, 77, -77 & 0xFFFFFFFF)}
    assert allowed == says(kill, 1, separate_id=True)

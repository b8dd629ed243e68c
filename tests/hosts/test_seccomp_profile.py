"""The seccomp profile for containers says what its documentation says; containers try it, in ``docker_host.py``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

PROFILE = json.loads((Path(__file__).parents[2] / "docker/seccomp.json").read_text())
ALLOWED = [rule for rule in PROFILE["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
REFUSED = [rule for rule in PROFILE["syscalls"] if rule["action"] == "SCMP_ACT_ERRNO"]


def names(rules: list[dict]) -> list[str]:
    """All calls that these rules name."""
    return [name for rule in rules for name in rule["names"]]


def test_what_is_not_named_is_refused():
    """A list of what is allowed, not of what is not."""
    assert "SCMP_ACT_ERRNO" == PROFILE["defaultAction"]
    assert len(PROFILE["syscalls"]) == len(ALLOWED) + len(REFUSED)


def test_each_call_is_in_one_rule():
    """But for those whose rules differ by an argument; nothing is both allowed and refused."""
    more_than_once = {name for name, count in Counter(names(PROFILE["syscalls"])).items() if count > 1}

    assert {"socket", "personality"} == more_than_once
    assert all("args" in rule for rule in ALLOWED if set(rule["names"]) & more_than_once)


def test_sockets_are_of_four_families():
    """UNIX, IPv4, IPv6 and netlink."""
    rules = [rule for rule in ALLOWED if "socket" in rule["names"]]

    assert [1, 2, 10, 16] == [rule["args"][0]["value"] for rule in rules]
    assert {(0, "SCMP_CMP_EQ")} == {(arg["index"], arg["op"]) for rule in rules for arg in rule["args"]}


@pytest.mark.parametrize(
    "name",
    [
        *("bpf", "clock_settime", "finit_module", "io_uring_setup", "kexec_load", "keyctl", "open_by_handle_at"),
        *("perf_event_open", "process_vm_readv", "ptrace", "reboot", "swapon", "userfaultfd"),
    ],
)
def test_the_kernels_widest_doors_are_refused_by_name(name):
    """The answer is "not permitted" even where a runtime's default answer is another."""
    assert name in names(REFUSED)
    assert {1} == {rule["errnoRet"] for rule in REFUSED}


def test_foreign_instruction_sets_are_not_listed():
    """A call of an architecture that is not listed ends the process."""
    assert all(not each["subArchitectures"] for each in PROFILE["archMap"])

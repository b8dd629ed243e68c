"""A whole network in one process on a virtual clock: fifty nodes, a day, every fault; and the same again."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import Any

import pytest

from edgeagent.cli import simulate
from edgeagent.simulation import scenario
from edgeagent.simulation.scenario import PER_GATEWAY_HOUR, PER_NODE_HOUR, FaultKind, Scenario

#: A heartbeat every ten minutes, and patience in proportion: what a day costs is mostly heartbeats.
DAY = ("--nodes", "50", "--hours", "24", "--heartbeat", "600", "--jobs-per-hour", "15")


def begin(*options: str, hash_seed: int = 0) -> subprocess.Popen[str]:
    """Start a simulation in a process of its own, where texts hash as ``hash_seed`` says."""
    command = [sys.executable, "-m", "edgeagent", "simulate", "--json", *options]
    environ = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def end(process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
    """Return what a simulation came to."""
    out, err = process.communicate(timeout=900)
    assert process.returncode == code, err
    document: dict[str, Any] = json.loads(out)
    assert document.pop("schema") == "edgeagent.simulation/1"
    document.pop("cpu_s")
    return document


def test_a_day_of_faults_loses_nothing_and_takes_the_same_course_twice() -> None:
    """Every fault happened, nothing was broken, and two processes agree to the last frame and row."""
    days = [end(process) for process in [begin(*DAY, "--seed", "1", hash_seed=n) for n in (1, 2)]]

    assert days[0] == days[1]
    day = days[0]
    assert day["breaches"] == []
    assert all(day["faults"].values())
    assert set(day["jobs"]) == {"COMPLETED", "FAILED", "CANCELLED"}
    assert {"completed", "lost", "cancelled"} <= set(day["attempts"])
    assert day["credited_ucr"] > 0
    assert day["links"] > 50 + day["faults"]["cut"]
    assert day["gateway_lives"] > 5


def test_another_seed_takes_another_course() -> None:
    """The digest says something."""
    short = ("--nodes", "3", "--hours", "0.1", "--heartbeat", "60")
    digests = {end(process)["digest"] for process in [begin(*short, "--seed", seed) for seed in ("1", "2")]}
    assert len(digests) == 2


def test_a_day_without_faults_has_none() -> None:
    """Each link is opened once."""
    day = end(begin("--nodes", "4", "--hours", "1", "--faults", "none", "--heartbeat", "600", "--jobs-per-hour", "9"))
    assert (sum(day["faults"].values()), day["links"], day["gateway_lives"]) == (0, 4, 1)


@pytest.mark.parametrize("names", ["everything", "cut,", ""])
def test_a_fault_that_is_none_is_one_line(names: str) -> None:
    """Which names those there are."""
    process = begin("--faults", names)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "gateway-kill" in err.splitlines()[-1]


def test_the_command_names_the_faults_that_there_are() -> None:
    """It spells them itself, so that its help is quick."""
    assert tuple(kind.value for kind in FaultKind) == simulate.FAULTS
    assert PER_NODE_HOUR.keys() | PER_GATEWAY_HOUR.keys() == set(FaultKind)


def test_a_plan_is_in_order_and_of_the_kinds_asked_for() -> None:
    """Leaving a kind out changes nothing about the others."""
    everything = scenario.plan(Scenario(hours=48), random.Random(5))
    some = scenario.plan(Scenario(hours=48, faults=frozenset({FaultKind.CUT, FaultKind.CLOCK})), random.Random(5))

    assert [fault.at_s for fault in everything] == sorted(fault.at_s for fault in everything)
    assert some == [fault for fault in everything if fault.kind in {FaultKind.CUT, FaultKind.CLOCK}]
    assert {fault.kind for fault in everything} == set(FaultKind)

"""How many processors jobs use together: a quota of their groups', or else the processors that they are put on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from interpreter import verdict
from sandboxing import HERE, LIMITS, as_nobody, control_groups, hear, wait_until

from edgesandbox import Spec, Zygote, cores, protections, seccomp
from edgesandbox.features import Features

#: Runs as whoever starts it, and says what a job was given that asked for every processor.
ASKING = f"""
import json, sys
sys.path.insert(0, {str(HERE)!r})
from sandboxing import LIMITS, hear
from edgesandbox import Spec, Zygote
with Zygote(entry="greedy:take_every_processor", import_paths=[{str(HERE)!r}], cores=0.5, tier_c=sys.argv[1]) as zygote:
    with zygote.spawn(Spec(limits=LIMITS)) as box:
        print(json.dumps([zygote.tier, hear(box), zygote.enforced, zygote.not_enforced]))
"""


def test_parts_of_processors_are_whole_ones_by_number():
    """The last of those that may be used; never more than there are, and a quota has a least."""
    assert {3} == cores.choose({0, 1, 3}, 0.5)
    assert {1, 3} == cores.choose([3, 1, 0], 1.5)
    assert {0, 1} == cores.choose({0, 1}, 16)
    assert (50_000, 150_000, 1_000) == tuple(map(cores.quota_us, (0.5, 1.5, 0.001)))


def _features(**changes: object) -> Features:
    given = {"filter": b"code", "counted_filter": b"code", "landlock": 6, "separate_ids": True} | changes
    return Features(**given)  # type: ignore[arg-type]


def test_what_limits_the_cores_is_said_only_where_they_are_limited():
    """The quota, or the processors with the reason why no quota; without a filter neither holds."""
    free = _features().account(())
    quota = _features(limited_cores=True, cgroups=(cores.QUOTA,)).account(())
    affinity = _features(limited_cores=True, reasons={cores.QUOTA: "no groups here"}).account(())
    neither = _features(limited_cores=True).account(("seccomp",))

    assert not {cores.QUOTA, cores.AFFINITY} & {*free[0], *free[1]}
    assert (True, False) == (cores.QUOTA in quota[0], bool({cores.QUOTA, cores.AFFINITY} & set(quota[1])))
    assert cores.AFFINITY in affinity[0]
    assert affinity[1][cores.QUOTA] == f"no groups here; {protections.CORES[cores.QUOTA]}"
    assert {cores.QUOTA, cores.AFFINITY} <= set(neither[1])


@pytest.mark.parametrize(("machine", "number", "arch"), [("x86_64", 203, 0xC000003E), ("aarch64", 122, 0xC00000B7)])
def test_a_filter_that_keeps_processors_pretends(machine: str, number: int, arch: int):
    """The call returns 0 and does nothing; other filters let it through."""
    kept = seccomp.program(count_memory=True, keep_affinity=True, machine=machine)
    free = seccomp.program(count_memory=True, machine=machine)

    assert 0x00050000 == verdict(kept, number, (0, 8, 0), arch)
    assert 0x7FFF0000 == verdict(free, number, (0, 8, 0), arch)


@pytest.mark.parametrize("wrong", [0, -1.5, float("nan")])
def test_a_limit_that_is_none_is_refused(wrong: float):
    """Before anything is started."""
    with pytest.raises(ValueError, match="cores more than 0"):
        Zygote(entry="hostile:noop", cores=wrong)


@pytest.mark.needs("root")
def test_jobs_of_a_group_are_held_back_together(zygote: Zygote):
    """Two jobs on every processor get half of one: the kernel says what it gave them, and that it held them back."""
    if zygote.tier != "A":
        pytest.skip(f"only root, or a delegated group: {zygote.not_enforced['cgroup_memory']}")
    with Zygote(entry="greedy:take_every_processor", import_paths=[HERE], cores=0.5) as limited:
        assert cores.QUOTA in limited.enforced, limited.not_enforced
        groups = [Path(path) for path in control_groups([limited._process.pid])]
        group = next(path for path in groups if path.name.startswith("edgesandbox-") and _quota(path))
        with limited.spawn(Spec(limits=LIMITS)) as one, limited.spawn(Spec(limits=LIMITS)) as other:
            free = [hear(one), hear(other)]
            wait_until(lambda: _throttled(group) >= 3, 60)

    assert [[len(os.sched_getaffinity(0))] * 2] * 2 == free  # on whichever processors
    assert not group.exists()


def _quota(group: Path) -> bool:
    for name, wanted in (("cpu.max", "50000 100000"), ("cpu.cfs_quota_us", "50000")):
        if (group / name).exists():
            return (group / name).read_text().strip() == wanted
    return False


def _throttled(group: Path) -> int:
    counts = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(counts["nr_throttled"])


@pytest.mark.needs("root")
@pytest.mark.parametrize(("tier", "tier_c"), [("B", "refuse"), ("C", "force")])
def test_without_groups_jobs_stay_on_the_processors_they_are_put_on(tier: str, tier_c: str):
    """A job that asks for all is told that it has them, and so is its child; the report says which way it is."""
    command = as_nobody(sys.executable, "-c", ASKING, tier_c)

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert 0 == done.returncode, done.stderr
    found, given, enforced, not_enforced = json.loads(done.stdout)
    assert (tier, [1, 1]) == (found, given)
    assert cores.AFFINITY in enforced
    assert protections.CORES[cores.QUOTA] in not_enforced[cores.QUOTA]

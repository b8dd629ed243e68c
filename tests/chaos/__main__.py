"""Break a network of real processes and audit what it did: ``python tests/chaos --fault all`` (see docs/chaos.md)."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import trio

sys.path.insert(1, str(Path(__file__).parents[1]))  # the server for tests

import chaos_plan
from chaos_leftovers import become_reaper
from chaos_places import no_clocks, no_disks
from chaos_run import Ran, run, table

MIXED, ALL = "mixed", "all"


def main() -> int:
    """Run what was asked for, print the table, and return the exit code."""
    asked = _arguments()
    seed = random.randrange(1 << 32) if asked.seed is None else asked.seed
    kinds = tuple(chaos_plan.PER_2000)
    lacking = _lacking()
    for fault, why in lacking.items():
        print(f"not here: {fault}: {why}")
    possible = tuple(kind for kind in kinds if kind not in lacking)
    runs = {MIXED: possible} if asked.fault == MIXED else {one: (one,) for one in kinds if asked.fault in (ALL, one)}
    become_reaper()
    ran: list[Ran] = []
    for name, faults in runs.items():
        if any(fault in lacking for fault in faults):
            continue
        plan = chaos_plan.make(faults, asked.jobs, seed)
        one = trio.run(run, name, plan, asked.nodes, asked.minutes * 60, asked.database, asked.keep)
        ran.append(one)
        print(f"{name}: {len(one.breaches)} broken after {one.wall_s:.0f} s", flush=True)
        for line in one.history:
            print(f"  {line}")
        for breach in one.breaches:
            print(f"  BROKEN: {breach}")
    print(table(ran))
    broken = sum(len(one.breaches) for one in ran)
    if broken:
        print(f"{broken} broken, with the seed {seed}: repeat with --seed {seed}; what there was is in {asked.keep}")
        return 1
    print(f"0 lost, 0 credited twice, books in order (seed {seed})")
    return 0 if ran else 1


def _lacking() -> dict[str, str]:
    """Return the faults that this machine cannot have, and why."""
    with tempfile.TemporaryDirectory(prefix="edgeagent-chaos-") as name:
        found = {"disk-full": no_disks(Path(name)), "clock": no_clocks(Path(name))}
    return {fault: why for fault, why in found.items() if why is not None}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s chaos --", description="Break a network of real processes.")
    parser.add_argument("--jobs", type=int, default=2000, help="how many in each run (default: 2000)")
    parser.add_argument("--nodes", type=int, default=4, help="how many (default: 4)")
    parser.add_argument("--seed", type=int, help="of the plan (default: another one each time, printed at the end)")
    choices = (*chaos_plan.PER_2000, MIXED, ALL)
    told = "one kind; all, a run for each; or mixed, all in one run (default: all)"
    parser.add_argument("--fault", choices=choices, default=ALL, help=told)
    parser.add_argument("--minutes", type=float, default=30.0, help="most for one run (default: 30)")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite", help="(default: sqlite)")
    keep = Path(tempfile.gettempdir()) / "edgeagent-chaos-kept"
    parser.add_argument("--keep", type=Path, default=keep, help=f"where a broken run is left (default: {keep})")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

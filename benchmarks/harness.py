"""Runs one benchmark and shows and keeps what came out.

A benchmark is a module in this folder with ``measure(run)``, and ``TARGETS`` beside it.  It hands its values to the
``Run``; what they mean is computed in ``rows``.  Its one rule: things that are compared take turns within one run
(``alternate``), so that drift, load and a warm cache hit all of them alike.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib
import json
import os
import platform
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row, Target, Verdict, conclusion, judge, merged, summarise, with_ratios

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
_NOT_BENCHMARKS = ("__init__", "__main__", "harness", "rows")

T = TypeVar("T")


class BenchmarkError(Exception):
    """What was to be measured did not work; one line says what."""


class Run:
    """Collects the values of one run.

    Attributes:
        quick: only see that it works; the figures mean little.
        absent: what could not be measured here, each with the reason.
        facts: what else a reader of the figures should know, such as settings.
    """

    def __init__(self, *, quick: bool = False) -> None:
        """Start with nothing."""
        self.quick = quick
        self.absent: dict[str, str] = {}
        self.facts: dict[str, Any] = {}
        self._values: dict[tuple[str, str, str], list[float]] = {}
        self._baselines: dict[str, str] = {}

    def add(self, group: str, name: str, value: float, unit: str) -> None:
        """Take one more value of a row."""
        self._values.setdefault((group, name, unit), []).append(value)

    def compare(self, group: str, baseline: str) -> None:
        """Have every row of a group held against the row with this id."""
        self._baselines[group] = baseline

    def rows(self) -> tuple[Row, ...]:
        """Return a row for all that was taken so far."""
        rows = [summarise(group, name, unit, values) for (group, name, unit), values in self._values.items()]
        return with_ratios(rows, self._baselines)

    def say(self, what: str) -> None:
        """Tell whoever waits what is going on."""
        print(what, file=sys.stderr, flush=True)


def alternate(
    subjects: Sequence[T], rounds: int, *, every: Callable[[T], int] = lambda _: 1, seed: int = 1
) -> Iterator[T]:
    """Yield every subject once a round: first as they stand, then each round in another order.

    The order is shuffled, from a fixed seed, since in a fixed one a subject would always pay for the same
    neighbour's left-overs (the kernel takes namespaces apart after their last process is gone).  A subject for which
    ``every`` returns 3 has a turn in every third round only; the slow ones would make the others wait.
    """
    order = random.Random(seed)
    for number in range(rounds):
        turns = order.sample(subjects, len(subjects)) if number else subjects
        yield from (subject for subject in turns if number % every(subject) == 0)


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "kernel": f"{platform.system()} {platform.release()}",
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "user": "root" if os.geteuid() == 0 else "ordinary",
        "load": round(os.getloadavg()[0], 2),
    }


def names() -> list[str]:
    """Return the benchmarks there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in _NOT_BENCHMARKS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark; returns 0, or 1 where it failed or, with ``--targets``, missed one, or 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="bench", description="Measure something, side by side with its peers.")
    parser.add_argument("name", choices=names(), help="which benchmark")
    parser.add_argument("--targets", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--quick", action="store_true", help="see that it runs; the figures are not kept")
    parser.add_argument("--output", type=Path, help=f"where to keep the figures (default: {RESULTS.name} beside this)")
    options = parser.parse_args(arguments)
    output = options.output or (None if options.quick else RESULTS)
    try:
        earlier = _read(output) if output else {}
        facts, run, verdicts = _measure(options.name, quick=options.quick)
    except BenchmarkError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    _show(options.name, facts, run, verdicts)
    if output:
        entry = _entry(facts, run, verdicts)
        output.write_text(json.dumps(merged(earlier, options.name, entry), indent=2) + "\n")
    print(conclusion(verdicts))
    return 1 if options.targets and not all(verdict.met for verdict in verdicts) else 0


def _measure(name: str, *, quick: bool) -> tuple[dict[str, Any], Run, tuple[Verdict, ...]]:
    module = importlib.import_module(f"benchmarks.{name}")
    targets: Sequence[Target] = module.TARGETS
    run = Run(quick=quick)
    facts = machine()
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection in the middle of one sample is nobody's cost
    try:
        module.measure(run)
    finally:
        gc.enable()
        gc.unfreeze()
    return facts, run, judge(targets, run.rows())


def _read(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise BenchmarkError(f"{path} cannot be added to: {problem}") from None
    if not isinstance(results, dict):
        raise BenchmarkError(f"{path} cannot be added to: it is not a JSON object")
    return results


def _entry(facts: dict[str, Any], run: Run, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    rows = [{key: _rounded(value) for key, value in attrs.asdict(row).items()} for row in run.rows()]
    targets = [
        {"target": each.target.name, "bound": each.target.bound, "value": _rounded(each.value), "met": each.met}
        for each in verdicts
    ]
    return {"machine": facts, "facts": run.facts, "rows": rows, "absent": run.absent, "targets": targets}


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _show(name: str, facts: dict[str, Any], run: Run, verdicts: Sequence[Verdict]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(f"[bold]{name}[/]: " + ", ".join(f"{key} {value}" for key, value in facts.items()), soft_wrap=True)
    for key, value in run.facts.items():
        console.print(f"{key}: {value}", soft_wrap=True, markup=False)
    groups: dict[str, list[Row]] = {}
    for row in run.rows():
        groups.setdefault(row.group, []).append(row)
    for group, rows in groups.items():
        console.print(_table(group, rows))
    for what, reason in run.absent.items():
        console.print(f"not measured: {what}: {reason}", soft_wrap=True, markup=False)
    for verdict in verdicts:
        console.print(("met     " if verdict.met else "MISSED  ") + str(verdict), soft_wrap=True, markup=False)


def _table(group: str, rows: Sequence[Row]) -> Table:
    baseline = next((row.baseline for row in rows if row.baseline), None)
    table = Table(title=f"{group} ({rows[0].unit})", title_justify="left", caption_justify="left")
    table.caption = f"x: times {baseline}" if baseline else None
    table.add_column("", min_width=36)
    for heading in ("median", "p10", "p90", "x", "samples"):
        table.add_column(heading, justify="right")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.name, f"{row.median:.2f}", f"{row.p10:.2f}", f"{row.p90:.2f}", ratio, str(row.samples))
    return table

"""Rows of figures, the targets they are held against, and the file they end in.

Pure: no clock, no I/O.  A row is one thing measured many times in one run; it is told apart by its group (what was
measured) and its name (on what).  Ratios are between medians of one run and never across runs: the machine, its load
and its kernel are then the same for both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs


def row_id(group: str, name: str) -> str:
    """Return what targets and baselines call a row."""
    return f"{name}: {group}"


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the value below which ``percent`` of the samples lie, by linear interpolation between neighbours.

    Raises:
        ValueError: there are no samples, or ``percent`` is not within 0 and 100.
    """
    if not samples or not 0 <= percent <= 100:
        raise ValueError(f"no percentile {percent} of {len(samples)} samples")
    ordered = sorted(samples)
    position = (len(ordered) - 1) * percent / 100
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@attrs.frozen(kw_only=True)
class Row:
    """What came out for one thing.

    Attributes:
        group: what was measured, such as ``start to exit, rapid-fire``.
        name: on what, such as ``bubblewrap, python``.
        unit: of median, p10 and p90.
        samples: how many values these are of.
        baseline: id of the row that ``ratio`` is to.
        ratio: this median over the baseline's.
    """

    group: str
    name: str
    unit: str
    samples: int
    median: float
    p10: float
    p90: float
    baseline: str | None = None
    ratio: float | None = None

    @property
    def id(self) -> str:
        """Return what targets and baselines call this row."""
        return row_id(self.group, self.name)


def summarise(group: str, name: str, unit: str, values: Sequence[float]) -> Row:
    """Return the row of these values.

    Raises:
        ValueError: there are none.
    """
    return Row(
        group=group,
        name=name,
        unit=unit,
        samples=len(values),
        median=percentile(values, 50),
        p10=percentile(values, 10),
        p90=percentile(values, 90),
    )


def with_ratios(rows: Iterable[Row], baselines: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the rows with their ratios; ``baselines`` maps a group to the id of the row it is held against.

    A group without a baseline, or whose baseline was not measured, keeps plain figures.
    """
    rows = tuple(rows)
    medians = {row.id: row.median for row in rows}

    def related(row: Row) -> Row:
        baseline = baselines.get(row.group)
        if baseline is None or not medians.get(baseline):
            return row
        return attrs.evolve(row, baseline=baseline, ratio=row.median / medians[baseline])

    return tuple(map(related, rows))


@attrs.frozen(kw_only=True)
class Target:
    """What a median must reach; with ``per``, its ratio to the median of that row.

    Raises:
        ValueError: not exactly one of ``at_most`` and ``at_least`` is given.
    """

    row: str
    per: str | None = None
    at_most: float | None = None
    at_least: float | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse a target that says nothing, or two things."""
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"the target for {self.row} needs either at_most or at_least")

    @property
    def name(self) -> str:
        """Return what is looked at."""
        return f"{self.row} / {self.per}" if self.per else self.row

    @property
    def bound(self) -> str:
        """Return what it must be."""
        return f"at least {self.at_least:g}" if self.at_most is None else f"at most {self.at_most:g}"


@attrs.frozen(kw_only=True)
class Verdict:
    """How a target fared; ``value`` is None where a row of it was not measured, and then it is not met."""

    target: Target
    value: float | None

    @property
    def met(self) -> bool:
        """Say whether the value is within the bound, which itself is within."""
        if self.value is None:
            return False
        if self.target.at_most is not None:
            return self.value <= self.target.at_most
        return self.target.at_least is not None and self.value >= self.target.at_least

    def __str__(self) -> str:
        """Return one line for a person."""
        value = "not measured" if self.value is None else f"{self.value:.3g}"
        return f"{self.target.name} ({value}, {self.target.bound})"


def judge(targets: Iterable[Target], rows: Iterable[Row]) -> tuple[Verdict, ...]:
    """Compare every target with the rows of one run."""
    medians = {row.id: row.median for row in rows}

    def value(target: Target) -> float | None:
        over = medians.get(target.row)
        under = 1.0 if target.per is None else medians.get(target.per)
        return None if over is None or not under else over / under

    return tuple(Verdict(target=target, value=value(target)) for target in targets)


def conclusion(verdicts: Sequence[Verdict]) -> str:
    """Return the last line of a run: which targets were missed."""
    missed = [str(verdict) for verdict in verdicts if not verdict.met]
    if missed:
        return f"missed {len(missed)} of {len(verdicts)} targets: " + "; ".join(missed)
    return f"met all {len(verdicts)} targets" if verdicts else "no targets are declared for this benchmark"


def merged(results: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results file with this benchmark's entry in place of an older one; others stay as they are."""
    return dict(sorted({**results, name: dict(entry)}.items()))

"""What the gateway's figures are counted with.  Pure; every label has few values, whatever strangers send."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

#: Most job types that have lines of their own; the rest are ``other`` together.
MAX_TYPES = 50


class Histogram:
    """Counts what was observed, by upper bounds."""

    def __init__(self, *bounds: float) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def total(self) -> int:
        """How many values were observed."""
        return sum(self._counts)

    def lines(self, name: str) -> Iterable[str]:
        """Yield its samples."""
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum}"
        yield f"{name}_count {total}"


def bounded(counts: Mapping[tuple[str, str], int]) -> Counter[tuple[str, str]]:
    """Return counts by state and job type, with the rarer types taken together."""
    by_type: Counter[str] = Counter()
    for (_, job_type), count in counts.items():
        by_type[job_type] += count
    kept = {job_type for job_type, _ in sorted(by_type.items(), key=lambda one: (-one[1], one[0]))[:MAX_TYPES]}
    found: Counter[tuple[str, str]] = Counter()
    for (state, job_type), count in counts.items():
        found[state, job_type if job_type in kept else "other"] += count
    return found

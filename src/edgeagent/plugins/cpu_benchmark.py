"""The plugin ``cpu_benchmark``: counts primes with a sieve, to show how fast a node's processor is.

A segmented sieve of Eratosthenes over the odd numbers, in pure Python on bytearrays, so that the figure depends on the
processor and the interpreter and on nothing else that is installed.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from edgeagent.plugins.base import BaseWorkerPlugin, WorkerResult, current_job
from edgeagent.plugins.fields import only, whole_number

DEFAULT_LIMIT = 100_000
LOWEST_LIMIT = 2
HIGHEST_LIMIT = 10_000_000
#: Numbers per segment: half as many bytes, which fit a processor's second-level cache; also the step of progress.
SEGMENT = 500_000


class CpuBenchmarkPlugin(BaseWorkerPlugin):
    """Counts the primes up to and including ``limit``."""

    job_type = "cpu_benchmark"
    benchmark: ClassVar[Mapping[str, Any] | None] = {"limit": HIGHEST_LIMIT}

    async def execute(self, job_id: uuid.UUID, payload: dict[str, Any]) -> WorkerResult:
        """Return ``{"primes_found", "limit", "seconds"}``."""
        only(payload, ("limit",))
        limit = whole_number(payload, "limit", default=DEFAULT_LIMIT, lowest=LOWEST_LIMIT, highest=HIGHEST_LIMIT)
        started = time.perf_counter()
        found = 0
        for last, count in count_by_segment(limit):
            found += count
            current_job().progress(last / limit, f"{found:,} primes up to {last:,}")
        seconds = round(time.perf_counter() - started, 6)
        return WorkerResult(success=True, value={"primes_found": found, "limit": limit, "seconds": seconds})


def count_by_segment(limit: int, segment: int = SEGMENT) -> Iterator[tuple[int, int]]:
    """Yield, segment after segment, the last number looked at and how many primes the segment holds.

    Args:
        limit: the last number, at least 2.
        segment: numbers per segment, even and positive.
    """
    sieving = odd_primes(math.isqrt(limit))
    for first in range(1, limit + 1, segment):  # odd, as the segment is even
        last = min(first + segment - 1, limit)
        odds = bytearray(b"\x01") * ((last - first) // 2 + 1)  # odds[i] stands for first + 2 * i
        for prime in sieving:
            if prime * prime > last:
                break
            start = max(prime * prime, -(-first // prime) * prime)
            if start % 2 == 0:
                start += prime
            index = (start - first) // 2
            if index < len(odds):
                odds[index::prime] = bytes((len(odds) - 1 - index) // prime + 1)
        # In the first segment 1 is no prime and 2 is one: as many as there were.
        yield last, odds.count(1)


def odd_primes(limit: int) -> list[int]:
    """Return the odd primes up to and including ``limit``."""
    odds = bytearray(b"\x01") * ((limit + 1) // 2)  # odds[i] stands for 2 * i + 1
    for i in range(1, (math.isqrt(max(limit, 0)) + 1) // 2):
        if odds[i]:
            odds[2 * i * (i + 1) :: 2 * i + 1] = bytes((len(odds) - 1 - 2 * i * (i + 1)) // (2 * i + 1) + 1)
    return [2 * i + 1 for i in range(1, len(odds)) if odds[i]]

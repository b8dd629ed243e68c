"""The sieve: right for known and for random limits, strict about what it is asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugin_jobs import run_job

from edgeagent.plugins.cpu_benchmark import SEGMENT, count_by_segment, odd_primes


def is_prime(number: int) -> bool:
    """The plainest test there is."""
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


@pytest.mark.parametrize(
    ("limit", "primes"),
    [(2, 1), (3, 2), (4, 2), (10, 4), (100, 25), (10**5, 9592), (SEGMENT, 41538), (10**6, 78498), (10**7, 664579)],
)
def test_known_counts(limit: int, primes: int) -> None:
    """https://oeis.org/A006880, and pi(500 000) at the edge of a segment."""
    assert primes == sum(count for _, count in count_by_segment(limit))


@given(st.integers(2, 3000), st.integers(1, 100).map(lambda half: 2 * half))
def test_every_segment_counts_its_primes(limit: int, segment: int) -> None:
    """Against the plainest test, for any size of segment."""
    first = 1
    for last, count in count_by_segment(limit, segment):
        assert sum(map(is_prime, range(first, last + 1))) == count
        first = last + 1
    assert limit + 1 == first


@given(st.integers(0, 2000))
def test_odd_primes(limit: int) -> None:
    """What the segments are sieved with."""
    assert [number for number in range(3, limit + 1) if is_prime(number)] == odd_primes(limit)


def test_a_job_returns_what_the_guide_says(tmp_path: Path) -> None:
    """Primes found, limit and seconds, with the default limit of 100 000."""
    done = run_job(tmp_path, "cpu_benchmark", {}).done

    assert done.success
    assert {"primes_found", "limit", "seconds"} == set(done.value)
    assert (9592, 100_000) == (done.value["primes_found"], done.value["limit"])
    assert 0 < done.value["seconds"] < 60


def test_a_long_job_shows_progress(tmp_path: Path) -> None:
    """The last update says that all is done."""
    progress = run_job(tmp_path, "cpu_benchmark", {"limit": 10_000_000}).progress

    assert (1.0, "664,579 primes up to 10,000,000") == (progress[-1].fraction, progress[-1].text)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"limit": 1}, "limit is a whole number from 2 to 10,000,000, not 1"),
        ({"limit": 10_000_001}, "limit is a whole number from 2 to 10,000,000, not 10,000,001"),
        ({"limit": -5}, "limit is a whole number from 2 to 10,000,000, not -5"),
        ({"limit": 100.0}, "limit is a whole number from 2 to 10,000,000, not 100.0"),
        ({"limit": "100"}, "limit is a whole number from 2 to 10,000,000, not '100'"),
        ({"limit": True}, "limit is a whole number from 2 to 10,000,000, not True"),
        ({"limit": None}, "limit is a whole number from 2 to 10,000,000, not None"),
        ({"limits": 100}, "unknown field 'limits'; this job takes: limit"),
    ],
)
def test_a_bad_limit_is_refused_for_good(tmp_path: Path, payload: dict[str, Any], error: str) -> None:
    """No other node need try it; the line names the range."""
    done = run_job(tmp_path, "cpu_benchmark", payload).done

    assert (False, error, False) == (done.success, done.error, done.retryable)

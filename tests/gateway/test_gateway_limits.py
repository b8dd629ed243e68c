"""Token buckets: how often one source and all together may ask, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway.limits import MAX_SOURCES, Limiter, Rate, source_of


def test_a_source_gets_its_burst_and_then_its_rate() -> None:
    """And is told exactly how long to wait."""
    limiter = Limiter(Rate(per_minute=6, burst=2), Rate(per_minute=600, burst=100))

    assert [limiter.wait_s("a", 0.0) for _ in range(2)] == [0, 0]
    assert limiter.wait_s("a", 0.0) == pytest.approx(10.0)
    assert limiter.wait_s("b", 0.0) == 0
    assert limiter.wait_s("a", 9.9) > 0
    assert limiter.wait_s("a", 10.0) == 0


def test_many_sources_share_one_bucket_in_bounded_memory() -> None:
    """Ten thousand of them in a minute get no more than all together may."""
    limiter = Limiter(Rate(per_minute=60, burst=20), Rate(per_minute=600, burst=200))

    let_in = sum(limiter.wait_s(f"source {number}", number * 60 / 100_000) == 0 for number in range(100_000))

    assert let_in == pytest.approx(800, abs=1)
    assert len(limiter) <= MAX_SOURCES


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5)), max_size=60))
def test_waiting_as_told_is_always_enough(steps: list[tuple[str, float]]) -> None:
    """Whoever comes back when told, alone, is let in."""
    limiter, now = Limiter(Rate(6, 2), Rate(10, 3)), 0.0
    for source, pause_s in steps:
        now += pause_s
        wait_s = limiter.wait_s(source, now)
        if wait_s:
            now += wait_s + 1e-6
            assert limiter.wait_s(source, now) == 0


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("x" * 1000, "x" * 64),
    ],
)
def test_an_ipv6_customer_is_one_source(address: str, source: str) -> None:
    """Who has one address of a network of 64 bits has all of them."""
    assert source_of(address) == source

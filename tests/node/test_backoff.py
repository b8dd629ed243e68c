"""The waits between tries."""

from __future__ import annotations

import random

from edgeagent.node.backoff import Backoff


class _Largest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


def test_bounds_double_from_one_second_to_thirty() -> None:
    """The operator guide's 1 s, 2 s, 4 s, ... up to 30 s."""
    backoff = Backoff(_Largest())

    assert [1, 2, 4, 8, 16, 30, 30, 30] == [backoff.next_s() for _ in range(8)]


def test_reset_starts_again_from_the_first_bound() -> None:
    """After a success the next trouble is a new one."""
    backoff = Backoff(_Largest())
    for _ in range(5):
        backoff.next_s()

    backoff.reset()

    assert 1 == backoff.next_s()


def test_jitter_covers_the_whole_interval() -> None:
    """A thousand nodes that lost one gateway come back spread over the interval, not together."""
    rng = random.Random(7)
    waits = []
    for _ in range(1000):
        backoff = Backoff(rng)
        backoff.next_s(), backoff.next_s()
        waits.append(backoff.next_s())

    assert all(0 <= wait <= 4 for wait in waits)
    assert 80 < sum(wait < 0.4 for wait in waits) < 120
    assert 80 < sum(wait > 3.6 for wait in waits) < 120

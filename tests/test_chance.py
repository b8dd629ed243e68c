"""Ids: unlike each other, in the order of time, and the same again for the same seed."""

from __future__ import annotations

import time
import uuid

from edgeagent import chance


def test_an_id_is_a_uuid_that_begins_with_the_time() -> None:
    """Version 7 of RFC 9562, to the millisecond."""
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(chance.new_id())
    after = time.time_ns() // 1_000_000
    assert before <= made.int >> 80 <= after
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_ids_of_one_moment_differ_in_all_their_other_bits() -> None:
    """74 of them, each of which is 0 in some id and 1 in another."""
    ids = [uuid.UUID(chance.new_id()).int for _ in range(1000)]
    low = (1 << 80) - 1
    ones, zeros = 0, 0
    for one in ids:
        ones, zeros = ones | one & low, zeros | ~one & low
    assert len(set(ids)) == 1000
    assert (ones & zeros).bit_count() == 74


def test_a_series_gives_the_same_ids_again() -> None:
    """And none that depend on the clock."""
    with chance.seeded(7):
        first = [chance.new_id() for _ in range(3)]
    with chance.seeded(7):
        assert [chance.new_id() for _ in range(3)] == first
    assert len({*first, chance.new_id()}) == 4

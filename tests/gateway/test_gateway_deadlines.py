"""Deadlines: what a plain dictionary would do, without looking at every entry."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway.deadlines import Deadlines

KEYS = st.sampled_from("abcdef")


@given(st.lists(st.tuples(st.sampled_from(["set", "discard", "due"]), KEYS, st.integers(0, 50)), max_size=200))
def test_deadlines_are_those_of_a_plain_dictionary(steps: list[tuple[str, str, int]]) -> None:
    """Set, overtake, discard and take in any order."""
    deadlines, plain = Deadlines(), dict[str, float]()
    for step, key, at in steps:
        match step:
            case "set":
                deadlines.set(key, at)
                plain[key] = at
            case "discard":
                deadlines.discard(key)
                plain.pop(key, None)
            case _:
                due = deadlines.due(at)
                assert sorted(due) == sorted(key for key in plain if plain[key] <= at)
                assert [plain[key] for key in due] == sorted(plain[key] for key in due)
                for key in due:  # noqa: PLW2901
                    del plain[key]
        assert len(deadlines) == len(plain)
        assert deadlines.nearest() == min(plain.values(), default=math.inf)


def test_renewing_for_ever_takes_no_memory() -> None:
    """Ten thousand renewals of one lease leave a handful of entries."""
    deadlines = Deadlines()
    for at in range(10_000):
        deadlines.set("lease", at)

    assert len(deadlines._heap) < 100

"""The most that an owner lets one job use, and all jobs together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.node.ceilings import USUAL, Ceiling, Ceilings
from edgeagent.wire.messages import Limits

GIB = 1 << 30


def test_a_ceiling_lowers_and_never_raises() -> None:
    """Field by field; what the owner says nothing of stays as asked."""
    ceilings = Ceilings(general=Ceiling(wall_s=60, memory_bytes=8 * GIB))

    assert Limits(wall_s=60, gpus=1) == ceilings.cap("echo", Limits(gpus=1), 4)
    assert Limits(wall_s=5) == ceilings.cap("echo", Limits(wall_s=5), 4)


def test_a_type_has_its_own_where_it_says_so() -> None:
    """Higher or lower; the rest is as for all."""
    ceilings = Ceilings(general=Ceiling(wall_s=60, pids=10), by_type={"render": Ceiling(wall_s=600)})

    assert Limits(wall_s=300, pids=10) == ceilings.cap("render", Limits(), 4)
    assert Limits(wall_s=60, pids=10) == ceilings.cap("echo", Limits(), 4)


@pytest.mark.parametrize(
    ("asked_bytes", "gets_bytes"),
    [(USUAL.memory_bytes, GIB), (GIB // 2, GIB // 2), (3 * GIB, 3 * GIB), (5 * GIB, 4 * GIB)],
)
def test_memory_is_shared_out_as_the_gateway_counts_it(asked_bytes: int, gets_bytes: int) -> None:
    """Four slots share 4 GiB: one each, or what a job asks for beyond the usual."""
    capped = Ceilings(memory_bytes=4 * GIB).cap("echo", Limits(memory_bytes=asked_bytes), 4)

    assert gets_bytes == capped.memory_bytes


def test_a_job_waits_for_memory_and_is_told_how_much_there_is() -> None:
    """It goes back to the queue."""
    ceilings = Ceilings(memory_bytes=4 * GIB)
    held = [Limits(memory_bytes=3 * GIB)]

    assert ceilings.room(Limits(memory_bytes=GIB), held) is None
    assert "the job may use 2.0 GiB of memory, and 1.0 GiB is free" == ceilings.room(Limits(), held)
    assert Ceilings().room(Limits(memory_bytes=1 << 50), held) is None


@given(st.integers(1, 64), st.integers(64 << 20, 1 << 40), st.lists(st.integers(1, 1 << 41), max_size=70))
def test_jobs_never_get_more_than_the_share_together(slots: int, share: int, asked: list[int]) -> None:
    """Whatever comes, in any order; jobs that ask for the usual fill every slot."""
    ceilings, held = Ceilings(memory_bytes=share), []
    for memory_bytes in asked:
        limits = ceilings.cap("echo", Limits(memory_bytes=memory_bytes), slots)
        if len(held) < slots and ceilings.room(limits, held) is None:
            held.append(limits)
    assert sum(limits.memory_bytes for limits in held) <= share

    usual = [ceilings.cap("echo", Limits(), slots)] * slots
    assert all(ceilings.room(one, usual[:number]) is None for number, one in enumerate(usual))

"""What a node says that its machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeagent.errors import UsageError
from edgeagent.node import machine
from edgeagent.node.machine import memory_bytes

WHOLE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("limit", "expected"), [("max\n", WHOLE), ("1048576\n", 1 << 20), (f"{1 << 62}\n", WHOLE), (None, WHOLE)]
)
def test_a_containers_limit_is_less_than_the_machine(tmp_path: Path, limit: str | None, expected: int) -> None:
    """Without one, or with one that is larger, all of the machine's memory counts."""
    path = tmp_path / "memory.max"
    if limit is not None:
        path.write_text(limit)

    assert memory_bytes((path,)) == expected


def test_what_an_owner_lends_of_the_processors_counts_whole() -> None:
    """All that there are where he says nothing; a part of one lets one job work at a time."""
    there = len(os.sched_getaffinity(0))

    assert (there, there, 1) == (machine.cores(None), machine.cores(there), machine.cores(0.5))


def test_more_processors_than_there_are_cannot_be_lent() -> None:
    """One line says how many there are, and what to type."""
    there = len(os.sched_getaffinity(0))

    with pytest.raises(UsageError, match=rf"share\.cores is {there + 1}, and there are {there} processors here; edge"):
        machine.cores(there + 1)

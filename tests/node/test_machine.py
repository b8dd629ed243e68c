"""What a node says that its machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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

"""Histories that hypothesis makes up: each on a database, a directory and a virtual clock of its own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import trio
from trio.testing import MockClock

from edgeagent.gateway.store import Store

#: What happens, to whom, and a number that says more about it.
Step = tuple[str, int, int]


class History(Protocol):
    """One gateway after another on one database, and those around it."""

    store: Store

    async def begin(self) -> None:
        """Have there be a gateway and its users."""

    async def step(self, what: str, who: int, number: int, /) -> None:
        """Have something happen."""

    async def check(self) -> object:
        """Hold what is there against what should be."""

    async def end(self) -> None:
        """Let everything come to its end, and check that."""


@contextlib.contextmanager
def template(make: Callable[[Path], History]) -> Iterator[Path]:
    """Make a gateway's directory with an empty database, which takes longer than to copy it."""
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "template"
        made.mkdir()
        make(made).store.close()
        yield made


def run(make: Callable[[Path], History], steps: Sequence[Step], copied: Path | None = None) -> None:
    """Run one history to its end in a directory of its own, a copy of ``copied`` if there is one to start from."""
    with tempfile.TemporaryDirectory() as directory:
        mine = Path(directory) / "gateway"
        if copied is None:
            mine.mkdir()
        else:
            shutil.copytree(copied, mine)
        clock: Any = MockClock(autojump_threshold=0)
        trio.run(_live, make, steps, mine, clock=clock)


async def _live(make: Callable[[Path], History], steps: Sequence[Step], directory: Path) -> None:
    history = make(directory)
    try:
        await history.begin()
        for step in steps:
            await history.step(*step)
            await history.check()
        await history.end()
    finally:
        history.store.close()

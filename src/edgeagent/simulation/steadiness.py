"""Runs trio so that the same seed takes the same course: virtual time, and a scheduler whose dice are ours.

Trio deals each batch of runnable tasks in random order, to keep programs from relying on one.  That stays so, but the
order is drawn from the seed: the same switch that pytest-trio and Hypothesis use on trio's scheduler (it has no public
name).  Ids and jitter are drawn from ``edgeagent.chance``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

import trio
import trio.testing

from edgeagent import chance

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run(seed: int, main: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts) -> T:
    """Run ``main`` to its end on a clock that jumps whenever everybody waits, and return what it returned."""
    with chance.seeded(seed), _dealing(seed):
        return trio.run(main, *args, clock=trio.testing.MockClock(autojump_threshold=0))


@contextmanager
def _dealing(seed: int) -> Iterator[None]:
    scheduler = cast(Any, trio)._core._run
    before, state = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before
        scheduler._r.setstate(state)

"""Where ids and jitter come from: the operating system, or one seeded series inside a simulation.

Whatever chooses the course of events asks here, so that a simulated network takes the same course for the same seed.
Secrets do not come from here: keys, tokens and challenges are the operating system's alone.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Seeded by the operating system, when it is imported.
_EVERYBODYS = random.Random()  # noqa: S311 -- jitter, not secrets

_series: ContextVar[random.Random | None] = ContextVar("edgeagent_chance", default=None)


def new_id() -> str:
    """Return a fresh UUID (version 4)."""
    series = _series.get()
    return str(uuid.uuid4() if series is None else uuid.UUID(int=series.getrandbits(128), version=4))


def rng() -> random.Random:
    """Return the random numbers to use here."""
    return _series.get() or _EVERYBODYS


@contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Let everything in this block, and in tasks started from it, draw from one series."""
    series = random.Random(seed)  # noqa: S311 -- to be repeated is its purpose
    token = _series.set(series)
    try:
        yield series
    finally:
        _series.reset(token)

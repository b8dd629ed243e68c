"""Where ids and jitter come from: the operating system, or one seeded series inside a simulation.

Whatever chooses the course of events asks here, so that a simulated network takes the same course for the same seed.
Secrets do not come from here: keys, tokens and challenges are the operating system's alone.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Below the 48 bits of the time: four that say the version, two that say who made the rule; all others are random.
_FIXED = 0xF << 76 | 0x3 << 62
_VERSION_7 = 0x7 << 76 | 0x2 << 62
#: Seeded by the operating system, when it is imported.
_EVERYBODYS = random.Random()  # noqa: S311 -- jitter, not secrets

_series: ContextVar[random.Random | None] = ContextVar("edgeagent_chance", default=None)


def new_id() -> str:
    """Return a fresh UUID: version 7 (RFC 9562, section 5.7), or version 4 inside a simulation.

    Version 7 begins with the time, so what is made together lies together in a database's indexes: a commit of the
    gateway's writes a third of the bytes that it would for random ids.
    """
    series = _series.get()
    if series is not None:
        return str(uuid.UUID(int=series.getrandbits(128), version=4))
    milliseconds = time.time_ns() // 1_000_000
    dice = int.from_bytes(os.urandom(10), "big") & ~_FIXED
    return str(uuid.UUID(int=milliseconds << 80 | _VERSION_7 | dice))


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

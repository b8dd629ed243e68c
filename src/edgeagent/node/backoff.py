"""How long to wait before trying again: 1, 2, 4 ... 30 s, with full jitter.

Full jitter (a wait anywhere between nothing and the bound) spreads a thousand nodes that lost the same gateway evenly
over the interval.  Pure but for the random numbers, which are handed in.
"""

from __future__ import annotations

import random

#: The first bound and the largest, in seconds; the operator guide's "1s, 2s, 4s, ... up to 30s".
FIRST_S = 1.0
LONGEST_S = 30.0


class Backoff:
    """One series of waits, which grows until ``reset``."""

    def __init__(self, rng: random.Random, *, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._rng = rng
        self._first_s = first_s
        self._longest_s = longest_s
        self._bound_s = first_s

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        bound_s = self._bound_s
        self._bound_s = min(bound_s * 2, self._longest_s)
        return self._rng.uniform(0, bound_s)

    def reset(self) -> None:
        """Start again from the first bound: whatever was tried has worked."""
        self._bound_s = self._first_s

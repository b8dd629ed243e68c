"""How many bytes a second go one way: a token bucket that all transfers of that way share.

Bytes are taken before they are sent, or after they have come (where a reader that waits makes the sender wait, by TCP).
Who takes waits until they are paid for, in the order of asking, so that two transfers share the rate.
"""

from __future__ import annotations

import math

import trio

#: Seconds of the rate that may be saved up while nothing moves.
BURST_S = 0.5
#: Seconds of the rate that one transfer takes at a time, at most: then no connection is silent for long.
PIECE_S = 0.25
#: Smallest piece, in bytes.
_LEAST = 4096


class Throttle:
    """One way's limit; ``rate`` is in bytes a second, None: there is none."""

    def __init__(self, rate: float | None = None) -> None:
        self._rate = rate
        self._paid_until = -math.inf  # when all that was taken is paid for, on trio's clock

    def piece(self, most_bytes: int) -> int:
        """Return how many bytes to move at a time, at most ``most_bytes``."""
        return most_bytes if self._rate is None else min(most_bytes, max(_LEAST, int(self._rate * PIECE_S)))

    async def take(self, size_bytes: int) -> None:
        """Wait until so many bytes may move, or have been paid for."""
        if self._rate is None:
            return
        now = trio.current_time()
        self._paid_until = max(self._paid_until, now - BURST_S) + size_bytes / self._rate
        await trio.sleep(max(0.0, self._paid_until - now))


FREE = Throttle()

"""Many deadlines, the nearest one cheap to find, for leases and silences.  Pure: callers bring ``now``."""

from __future__ import annotations

import heapq
import math


class Deadlines:
    """A deadline for each key, in seconds on the caller's clock.

    Setting and discarding cost O(log n): an overtaken heap entry stays behind and is skipped when it comes up, and
    the heap is rebuilt when most of it is overtaken, so renewing a lease for ever takes no memory.
    """

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._at)

    def set(self, key: str, at: float) -> None:
        """Give ``key`` this deadline, in place of any other."""
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._at) + 64:
            self._heap = [(when, name) for name, when in self._at.items()]
            heapq.heapify(self._heap)

    def discard(self, key: str) -> None:
        """Forget ``key``, if it is there."""
        self._at.pop(key, None)

    def nearest(self) -> float:
        """Return the earliest deadline; infinity when there is none."""
        self._skip_overtaken()
        return self._heap[0][0] if self._heap else math.inf

    def due(self, now: float) -> list[str]:
        """Forget and return the keys whose deadline has come, earliest first."""
        keys = []
        while self.nearest() <= now:
            keys.append(heapq.heappop(self._heap)[1])
            del self._at[keys[-1]]
        return keys

    def _skip_overtaken(self) -> None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

"""Wakes a task: now, or after a pause.  Only an in-process hint; the dispatcher, for one, looks by itself as well."""

from __future__ import annotations

import heapq

import trio


class Wake:
    """One sleeper, many who may wake it; a call that comes while nobody sleeps is kept."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._times: list[float] = []
        self._sleep: trio.CancelScope | None = None

    def now(self) -> None:
        """Wake the sleeper."""
        self._event.set()

    def after(self, pause_s: float) -> None:
        """Wake the sleeper once ``pause_s`` seconds have passed."""
        at = trio.current_time() + pause_s
        heapq.heappush(self._times, at)
        if self._sleep is not None:
            self._sleep.deadline = min(self._sleep.deadline, at)

    async def wait(self, most_s: float) -> None:
        """Sleep until woken, at most ``most_s`` seconds."""
        until = trio.current_time() + most_s
        with trio.move_on_at(min([until, *self._times[:1]])) as self._sleep:
            await self._event.wait()
        self._sleep = None
        self._event = trio.Event()
        while self._times and self._times[0] <= trio.current_time():
            heapq.heappop(self._times)

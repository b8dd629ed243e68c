"""The wish that the node ends: who wants it, and how long running jobs still get.

One object for a signal, ``edgeagent drain`` and an update.  The first wish starts the drain; a later one can only bring
its end nearer.
"""

from __future__ import annotations

import math

import trio

BY_SIGNAL = "the node is being stopped"


class Stop:
    """Set once; ``node.rings`` waits for it and drains."""

    def __init__(self) -> None:
        self.reason = BY_SIGNAL
        self._asked = trio.Event()
        self._until = math.inf  # seconds on trio's clock
        self._waiting: trio.CancelScope | None = None
        self._restart = False

    @property
    def asked(self) -> bool:
        """Whether the node is to end."""
        return self._asked.is_set()

    @property
    def restart(self) -> bool:
        """Whether it is to start anew afterwards."""
        return self._restart

    @property
    def left_s(self) -> float | None:
        """Seconds that running jobs still get; None while nobody wants the node to end."""
        return max(0.0, self._until - trio.current_time()) if self.asked else None

    def request(self, grace_s: float, reason: str = BY_SIGNAL, *, restart: bool = False) -> None:
        """Have the node drain; what runs gets ``grace_s`` seconds.  One wish to stay stopped outweighs a restart."""
        if not self.asked:
            self.reason = reason
        self._restart = restart and (self._restart or not self.asked)
        self._until = min(self._until, trio.current_time() + grace_s)
        self._asked.set()
        if self._waiting is not None:
            self._waiting.deadline = self._until

    async def wait(self) -> None:
        """Wait for the first wish."""
        await self._asked.wait()

    def patience(self) -> trio.CancelScope:
        """Return a scope that ends when running jobs have had their time, and follows later wishes."""
        self._waiting = trio.CancelScope(deadline=self._until)
        return self._waiting

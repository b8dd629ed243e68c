"""How long a submitter's command goes on with a file whose connection breaks again and again."""

from __future__ import annotations

import trio

from edgeagent.errors import UnreachableError

#: Seconds before each next try, while nothing new arrives; the last one is repeated.
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
#: Seconds without a new byte after which it is given up.
GIVE_UP_S = 120.0


class Patience:
    """Waits between tries; starts anew each time that something has arrived."""

    def __init__(self) -> None:
        self._most, self._tries, self._moved_at = 0, 0, trio.current_time()

    async def wait(self, error: UnreachableError, arrived: int) -> None:
        """Wait for the next try, ``arrived`` bytes being there; raise ``error`` where it makes no sense any more."""
        if arrived > self._most:
            self._most, self._tries, self._moved_at = arrived, 0, trio.current_time()
        wait_s = WAITS_S[min(self._tries, len(WAITS_S) - 1)]
        if trio.current_time() + wait_s - self._moved_at > GIVE_UP_S:
            raise error
        self._tries += 1
        await trio.sleep(wait_s)

"""The leaderboard as it stood a moment ago, for everybody who asks meanwhile.

Making one reads a row for each node, so it happens in a reader's thread, once at a time, and never more often than a
twentieth of the time can be spent on it.  While one is made, those who come get the one before.
"""

from __future__ import annotations

import trio

from edgeagent.gateway.leaderboard import Board
from edgeagent.gateway.store import Store, StoreUnavailableError, Tx, standings

#: Seconds that one is good for at least; the page asks for itself every 60 s.
FRESH_S = 2.0
#: The most of one processor that making them takes.
SHARE = 0.05
#: Seconds after which nobody gets it any more while a new one is made.
STALE_S = 60.0


class Boards:
    """One gateway's leaderboard."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._making = trio.Lock()
        self._board: Board | None = None
        self._fresh_until = self._good_until = float("-inf")

    async def current(self) -> Board:
        """Return the leaderboard; when it is of, it says itself.

        Raises:
            StoreUnavailableError: there is none yet, and none can be made.
        """
        if self._board is not None and self._usable():
            return self._board
        async with self._making:
            began = trio.current_time()
            if self._board is None or began >= self._fresh_until:
                try:
                    self._board = await self._store.read(_make)
                except StoreUnavailableError:
                    if self._board is None:
                        raise
                now = trio.current_time()
                self._fresh_until = now + max(FRESH_S, (now - began) / SHARE)
                self._good_until = self._fresh_until + STALE_S
            return self._board

    @property
    def fresh_s(self) -> float:
        """For how many seconds from now the present one will do."""
        return max(0.0, self._fresh_until - trio.current_time())

    def forget(self) -> None:
        """Somebody's line has changed in a way that they want to see at once."""
        self._board = None

    def _usable(self) -> bool:
        now = trio.current_time()
        return now < self._fresh_until or (self._making.locked() and now < self._good_until)


def _make(tx: Tx) -> Board:
    return Board(standings.standings(tx), tx.now)

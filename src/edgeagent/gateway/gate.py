"""How many connections may be open, in all and from one address.  Pure.

Counted from the accept on, before a byte was read, because a connection on which nothing is ever said costs memory all
the same.  A trusted proxy's connections are other people's: they count in all, and each request by its own client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgeagent.gateway.limits import source_of
from edgeagent.gateway.proxies import Network, is_trusted


class Gate:
    """Counts open connections.

    Args:
        together: most connections in all.
        each: most from one source (``limits.source_of``).
        trusted: the networks of proxies, which only ``together`` holds.
    """

    def __init__(self, together: float, each: float, trusted: Sequence[Network] = ()) -> None:
        self._together, self._each, self._trusted = together, each, trusted
        self._open: Counter[str] = Counter()
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def enter(self, address: str) -> str | None:
        """Count a connection and return what to give to ``leave``; None where there are too many.

        Args:
            address: the peer's; empty where the connection has none, which only ``together`` holds.
        """
        source = "" if not address or is_trusted(address, self._trusted) else source_of(address)
        if self._number >= self._together or (source and self._open[source] >= self._each):
            return None
        self._number += 1
        self._open[source] += 1
        return source

    def leave(self, source: str) -> None:
        """A connection is over."""
        self._number -= 1
        self._open[source] -= 1
        if not self._open[source]:
            del self._open[source]  # memory is bounded by the connections that are open

"""Locks by name, which take no memory while nobody holds them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio


@attrs.define
class _Lock:
    lock: trio.Lock = attrs.field(factory=trio.Lock)
    users: int = 0


class Locks:
    """One lock for each name; who asks first gets it first."""

    def __init__(self) -> None:
        self._locks: dict[str, _Lock] = {}

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Hold the lock of this name."""
        mine = self._locks.setdefault(name, _Lock())
        mine.users += 1
        try:
            async with mine.lock:
                yield
        finally:
            mine.users -= 1
            if not mine.users:
                del self._locks[name]

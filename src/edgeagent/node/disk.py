"""The node's disk: looked at before a job is taken, and kept above its floor at the cache's cost.

``room`` decides; here are the numbers that it decides by, and who is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog
import trio

from edgeagent.node.cache import Cache
from edgeagent.node.gate import Gate
from edgeagent.node.room import Holdings, Rules, missing, refusal
from edgeagent.node.willingness import Code, Reason
from edgeagent.wire.messages import JobDispatch

log = structlog.get_logger()

#: Seconds between two looks.
LOOK_EVERY_S = 10.0
#: What a result may take, in bytes: a frame, twice, and its place in the database.
RESULT_BYTES = 4 << 20


class Disk:
    """The file system that a node's home is on."""

    def __init__(self, home: Path, rules: Rules, cache: Cache) -> None:
        self._home, self._rules, self._cache = home, rules, cache
        self._running: Callable[[], Iterable[JobDispatch]] = tuple
        self._unsent: Callable[[], int] = int
        self.warning: str | None = None  # why no job is taken

    def count(self, running: Callable[[], Iterable[JobDispatch]], unsent: Callable[[], int]) -> None:
        """Count from now on what the attempts that run may still write, and what waits for the gateway, in bytes."""
        self._running, self._unsent = running, unsent

    def refuse(self, dispatch: JobDispatch | None = None) -> str | None:
        """Return why this attempt, or any, is not to be taken now; returns at once."""
        if dispatch is None:
            return refusal(self._rules, self._look())
        inputs = {
            each.sha256: each.size_bytes for each in dispatch.inputs.values() if not self._cache.holds(each.sha256)
        }
        return refusal(
            self._rules,
            self._look(),
            inputs_bytes=sum(inputs.values()),
            outputs_bytes=dispatch.limits.scratch_bytes,
        )

    def make_room(self, wanted_bytes: int = 0) -> int:
        """Drop from the cache what is missing for so many bytes, or all where the disk is full; return how many went.

        Blocks.
        """
        short = missing(self._rules, self._look(), wanted_bytes)
        freed = self._cache.evict(short) if short else 0
        if freed:
            log.info("Cache made smaller: the disk is nearly full", freed_bytes=freed)
        return freed

    async def relieve(self) -> None:
        """Drop from the cache enough for a result: a write has just failed."""
        await trio.to_thread.run_sync(self.make_room, RESULT_BYTES)

    async def run(self, gate: Gate) -> None:
        """Keep the floor free until cancelled; while it is not, the gate is shut."""
        while True:
            await trio.to_thread.run_sync(self.make_room)
            self.warning = self.refuse()
            gate.note(Code.DISK, None if self.warning is None else Reason(code=Code.DISK, text=self.warning))
            await trio.sleep(LOOK_EVERY_S)

    def _look(self) -> Holdings:
        about = os.statvfs(self._home)
        running = list(self._running())
        return Holdings(
            free=about.f_bavail * about.f_frsize,
            total=about.f_blocks * about.f_frsize,
            evictable=self._cache.evictable_bytes,
            busy=self._cache.used_bytes - self._cache.evictable_bytes + self._cache.promised_bytes,
            promised=self._cache.promised_bytes + sum(each.limits.scratch_bytes for each in running),
            unsent=self._unsent(),
        )

"""One round of dispatch: from the queue on disk, through the fair order, to nodes that have room.

``backlog`` says which job is next, ``dispatch`` on which node, ``store.queue`` makes it so; here they meet.  A round is
bounded, and what it could not store is given back to the queue, where it still is on disk.

A job that comes while none waits for a free slot needs no queue: ``at_once`` finds its node, and the transaction that
stores the job starts the attempt too.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Sequence

import trio

from edgeagent import chance
from edgeagent.gateway.backlog import WINDOW, Unread
from edgeagent.gateway.needs import Need
from edgeagent.gateway.network import Network
from edgeagent.gateway.store import Store, queue
from edgeagent.gateway.store.flights import Flight
from edgeagent.gateway.store.queue import Started
from edgeagent.gateway.store.submissions import New

#: Most jobs dispatched in one transaction.  Fewer than one look into the store brings: that also brings those which the
#: round has taken already, and the store does not know of yet.
MAX_ROUND = WINDOW // 2
#: Seconds between two looks for rested jobs that nobody has told of: those that rested when the gateway was restarted.
ROUSE_S = 5.0
#: Seconds between two looks for accounts with waiting jobs that nobody has told of.
LOOK_S = 30.0


class Dispatcher:
    """Gives waiting jobs to nodes; ``network`` knows both."""

    def __init__(self, store: Store, network: Network) -> None:
        self._store = store
        self._network = network
        self._rests: list[float] = []
        self._roused_at = self._looked_at = -math.inf
        self._told = self._heeded = 0

    def rest(self, pause_s: float) -> None:
        """A job rests for so long."""
        heapq.heappush(self._rests, trio.current_time() + pause_s)

    def tell(self) -> None:
        """Another process may have queued jobs: look for them in the next round."""
        self._told += 1

    def at_once(self, new: New) -> Flight | None:
        """Take a node for a job that is about to be stored; None where it has to queue.

        Only where the queue has nothing that could be started, so that it overtakes nobody's.  The caller stores the
        attempt with the job, or lets the flight land.
        """
        backlog, pool = self._network.backlog, self._network.pool
        unknown = self._told != self._heeded or self._looked_at == -math.inf
        if unknown or backlog.has_next(pool.can) or not pool.can(new.need):
            return None
        return self._fly(new.job_id, new.account_id, new.need)

    async def round(self) -> list[tuple[Flight, Started]]:
        """Start what can be started, at most ``MAX_ROUND`` jobs, and return it; the nodes have not been told yet."""
        await self._look()
        flights: list[Flight] = []
        started: dict[str, Started] = {}
        try:
            while len(flights) < MAX_ROUND and (flight := await self._next(flights)) is not None:
                flights.append(flight)
            if flights:
                started = await self._store.write(queue.start, flights)
        finally:
            for flight in flights:
                if flight.attempt_id not in started:  # it has ended meanwhile, or nothing could be stored
                    self._network.land(flight.node_id, flight.attempt_id)
                    self._network.backlog.doubt(flight.account_id, flight.need)
        return [(flight, started[flight.attempt_id]) for flight in flights if flight.attempt_id in started]

    async def _next(self, flights: Sequence[Flight]) -> Flight | None:
        backlog, pool = self._network.backlog, self._network.pool
        while (job := backlog.next(pool.can)) is not None:
            if isinstance(job, Unread):
                read = await self._store.read(queue.heads, job.account_id, job.need)
                backlog.fill(job, read, {flight.job_id for flight in flights})
                continue
            avoid = job.avoid | self._network.doubted if job.need.apart else job.avoid
            return self._fly(job.job_id, job.account_id, job.need, avoid)
        return None

    def _fly(self, job_id: str, account_id: str, need: Need, avoid: Collection[str] = ()) -> Flight:
        """Have an attempt in flight to a node that has room, which there is."""
        node_id = self._network.pool.take(need, avoid)
        assert node_id is not None  # the caller has asked
        flight = Flight(attempt_id=chance.new_id(), job_id=job_id, node_id=node_id, account_id=account_id, need=need)
        self._network.fly(flight, trio.current_time())
        return flight

    async def _look(self) -> None:
        now, backlog = trio.current_time(), self._network.backlog
        told = self._told
        if told != self._heeded or now >= self._looked_at + LOOK_S:
            for account_id, need in await self._store.read(queue.lanes):
                # A lane that is known whole would hide a job of which only the store knows.
                if told != self._heeded or not backlog.has(account_id, need):
                    backlog.doubt(account_id, need)
            self._looked_at, self._heeded = now, told
        if now >= self._roused_at + ROUSE_S or (self._rests and self._rests[0] <= now):
            for account_id, need in await self._store.write(queue.rouse):
                backlog.doubt(account_id, need)
            self._roused_at = now
            while self._rests and self._rests[0] <= now:
                heapq.heappop(self._rests)

"""Which node gets a job: the least loaded one that can do it and has a free slot.

``Pool`` holds a seat for each linked node.  Loads are compared in steps, because a hundredth of a processor more or
less is noise; among equals the node that waited longest is taken, so idle twins share the work.  A choice costs
O(log n) in the number of nodes: one heap for each job type, in which overtaken entries are skipped.  Pure.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection

import attrs

#: Loads that differ by less than one step of this many in 1.0 count as equal.
LOAD_STEPS = 16

_Entry = tuple[int, int, str, int]  # load step, turn, node, version


@attrs.define
class Seat:
    """What dispatch knows of one linked node.

    ``limit`` is how many attempts it may have at once: its slots, 1 on probation, 0 while it may get none.  ``busy``
    is how many of them are taken; ``reported`` the load it last told, ``busy_then`` what was taken at that moment.
    """

    node_id: str
    capabilities: frozenset[str]
    slots: int
    limit: int = 0
    busy: int = 0
    reported: float = 0.0
    busy_then: int = 0
    turn: int = 0
    version: int = 0

    @property
    def free(self) -> int:
        """How many more attempts it may get."""
        return max(0, self.limit - self.busy)

    @property
    def load(self) -> float:
        """Share of the node that is taken: what it said, and what was given to it since."""
        since = (self.busy - self.busy_then) / self.slots
        return max(self.busy / self.slots, self.reported + since, 0.0)


class Pool:
    """The seats, ordered by load for each job type."""

    def __init__(self) -> None:
        self._seats: dict[str, Seat] = {}
        self._heaps: dict[str, list[_Entry]] = {}
        self._seats_of: Counter[str] = Counter()
        self._free: Counter[str] = Counter()
        self._turn = 0

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._seats

    def __getitem__(self, node_id: str) -> Seat:
        return self._seats[node_id]

    def join(self, node_id: str, capabilities: Collection[str], slots: int) -> None:
        """Give a node a seat, in place of any it had; it gets nothing until ``update`` raises its limit."""
        self.leave(node_id)
        seat = self._seats[node_id] = Seat(node_id, frozenset(capabilities), slots)
        self._seats_of.update(seat.capabilities)

    def leave(self, node_id: str) -> None:
        """Take a node's seat away, if it has one."""
        seat = self._seats.pop(node_id, None)
        if seat is not None:
            self._count(seat, -seat.free)
            self._seats_of.subtract(seat.capabilities)

    def update(self, node_id: str, *, limit: int, busy: int, reported: float | None = None) -> None:
        """Say how a seated node stands now; None leaves what it reported last."""
        seat = self._seats[node_id]
        free, key = seat.free, _step(seat.load)
        seat.limit, seat.busy = limit, busy
        if reported is not None:
            seat.reported, seat.busy_then = reported, busy
        if (seat.free, _step(seat.load)) != (free, key):
            self._moved(seat, free)

    def free_slots(self) -> dict[str, int]:
        """Return for each job type how many attempts could start; a slot counts for every type its node can do."""
        return {job_type: free for job_type, free in self._free.items() if free > 0}

    def take(self, job_type: str, avoid: Collection[str] = ()) -> str | None:
        """Return the node that gets a job of this type, and count it as taken there; None if no seat is free.

        A node in ``avoid`` is taken only if no other has a free slot.
        """
        heap = self._heaps.get(job_type, [])
        passed: list[_Entry] = []
        chosen: _Entry | None = None
        while heap and chosen is None:
            entry = heapq.heappop(heap)
            if self._current(entry):
                if entry[2] in avoid:
                    passed.append(entry)
                else:
                    chosen = entry
        if chosen is None and passed:
            chosen = passed.pop(0)
        for entry in passed:
            heapq.heappush(heap, entry)
        if chosen is None:
            return None
        seat = self._seats[chosen[2]]
        self._turn += 1
        seat.turn, seat.busy = self._turn, seat.busy + 1
        self._moved(seat, seat.free + 1)
        return seat.node_id

    def _current(self, entry: _Entry) -> bool:
        seat = self._seats.get(entry[2])
        return seat is not None and seat.version == entry[3] and seat.free > 0

    def _moved(self, seat: Seat, free_before: int) -> None:
        self._count(seat, seat.free - free_before)
        # One counter for all seats: a node that left and came back must not match its old entries.
        self._turn += 1
        seat.version = self._turn
        if not seat.free:
            return
        entry = (_step(seat.load), seat.turn, seat.node_id, seat.version)
        for job_type in seat.capabilities:
            heap = self._heaps.setdefault(job_type, [])
            heapq.heappush(heap, entry)
            if len(heap) > 2 * self._seats_of[job_type] + 64:
                heap[:] = [one for one in heap if self._current(one)]
                heapq.heapify(heap)

    def _count(self, seat: Seat, free: int) -> None:
        for job_type in seat.capabilities:
            self._free[job_type] += free


def _step(load: float) -> int:
    return round(load * LOAD_STEPS)

"""Which node gets a job: the least loaded one that suits it and has room.

``Pool`` holds a seat for each linked node.  Loads are compared in steps, because a hundredth of a processor more or
less is noise; among equals the node that waited longest is taken, so idle twins share the work.  A choice costs
O(log n) in the number of nodes: one heap for each need that jobs have, in which overtaken entries are skipped.  Pure.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Collection

import attrs

from edgeagent.gateway.needs import Need, Offer, Taken, fits

#: Loads that differ by less than one step of this many in 1.0 count as equal.
LOAD_STEPS = 16
#: Most different needs that seats are kept in order for; the one not asked for longest is forgotten, and made again
#: (in the time of one look at each seat) when it is asked for.
MAX_NEEDS = 256

_Entry = tuple[int, int, str, int]  # load step, turn, node, version


@attrs.define
class Seat:
    """What dispatch knows of one linked node.

    ``limit`` is how many attempts it may have at once: its slots, 1 on probation, 0 while it may get none; ``closed``
    are job types that it does not take at present.  ``taken`` is what of it is in use; ``reported`` the load it last
    told, ``busy_then`` how many slots were taken at that moment.
    """

    node_id: str
    offer: Offer
    limit: int = 0
    closed: frozenset[str] = frozenset()
    taken: Taken = attrs.Factory(Taken)
    reported: float = 0.0
    busy_then: int = 0
    turn: int = 0
    version: int = 0

    @property
    def free(self) -> int:
        """How many more attempts it may get."""
        return max(0, self.limit - self.taken.slots)

    def has_room(self, need: Need) -> bool:
        """Whether a job that the node suits would be taken there now."""
        return need.job_type not in self.closed and fits(self.offer, self.taken, self.limit, need)

    @property
    def load(self) -> float:
        """Share of the node that is taken: what it said, and what was given to it since."""
        slots, busy = self.offer.slots, self.taken.slots
        return max(busy / slots, self.reported + (busy - self.busy_then) / slots, 0.0)


class Pool:
    """The seats, ordered by load for each need."""

    def __init__(self) -> None:
        self._seats: dict[str, Seat] = {}
        self._orders: OrderedDict[Need, _Order] = OrderedDict()
        self._turn = 0

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._seats

    def __getitem__(self, node_id: str) -> Seat:
        return self._seats[node_id]

    def join(self, node_id: str, offer: Offer) -> None:
        """Give a node a seat, in place of any it had; it gets nothing until ``update`` raises its limit."""
        self.leave(node_id)
        self._seats[node_id] = Seat(node_id, offer)
        for need, order in self._orders.items():
            order.members += offer.suits(need)

    def leave(self, node_id: str) -> None:
        """Take a node's seat away, if it has one."""
        seat = self._seats.pop(node_id, None)
        if seat is not None:
            for need, order in self._orders.items():
                order.members -= seat.offer.suits(need)

    def update(
        self,
        node_id: str,
        *,
        limit: int,
        taken: Taken,
        reported: float | None = None,
        closed: frozenset[str] = frozenset(),
    ) -> None:
        """Say how a seated node stands now; None leaves what it reported last."""
        seat = self._seats[node_id]
        before = (seat.limit, seat.taken, seat.closed, _step(seat.load))
        seat.limit, seat.taken, seat.closed = limit, taken, closed
        if reported is not None:
            seat.reported, seat.busy_then = reported, taken.slots
        if (limit, taken, closed, _step(seat.load)) != before:
            self._moved(seat)

    def can(self, need: Need) -> bool:
        """Return whether a job with this need finds a node now."""
        heap = self._order(need).heap
        while heap and not self._current(heap[0]):
            heapq.heappop(heap)
        return bool(heap)

    def take(self, need: Need, avoid: Collection[str] = ()) -> str | None:
        """Return the node that gets a job with this need, and count it as taken there; None if no seat has room.

        A node in ``avoid`` is taken only if no other has room.
        """
        heap = self._order(need).heap
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
        seat.turn, seat.taken = self._turn, seat.taken.plus(seat.offer, need)
        self._moved(seat)
        return seat.node_id

    def _order(self, need: Need) -> _Order:
        order = self._orders.get(need)
        if order is None:
            suited = [seat for seat in self._seats.values() if seat.offer.suits(need)]
            heap = [_entry(seat) for seat in suited if seat.has_room(need)]
            heapq.heapify(heap)
            order = self._orders[need] = _Order(heap, len(suited))
            if len(self._orders) > MAX_NEEDS:
                self._orders.popitem(last=False)
        else:
            self._orders.move_to_end(need)
        return order

    def _current(self, entry: _Entry) -> bool:
        seat = self._seats.get(entry[2])
        return seat is not None and seat.version == entry[3]

    def _moved(self, seat: Seat) -> None:
        # One counter for all seats: a node that left and came back must not match its old entries.
        self._turn += 1
        seat.version = self._turn
        if not seat.free:
            return
        entry = _entry(seat)
        for need, order in self._orders.items():
            if seat.offer.suits(need) and seat.has_room(need):
                heapq.heappush(order.heap, entry)
                if len(order.heap) > 2 * order.members + 64:
                    order.heap[:] = [one for one in order.heap if self._current(one)]
                    heapq.heapify(order.heap)


@attrs.define
class _Order:
    """The seats that suit one need, least loaded first, with overtaken entries among them."""

    heap: list[_Entry]
    members: int


def _entry(seat: Seat) -> _Entry:
    return (_step(seat.load), seat.turn, seat.node_id, seat.version)


def _step(load: float) -> int:
    return round(load * LOAD_STEPS)

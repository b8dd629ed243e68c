"""Which job is next: the waiting jobs of all accounts, in the order that is fair between them.  Pure.

The account that has the fewest attempts in flight goes first, among equals the one that has waited longest for its
turn; so each gets an equal share of the slots, however many jobs it has queued.  Within an account the highest
priority goes first, then the oldest job.  Jobs of one account with one need wait in a *lane*, of which only the first
few are here: the rest is in the store, which has the same order by an index, and is read when they run out
(``Unread``).  Called by ``dispatcher``; a job handed out may have ended meanwhile, which the store then says.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Callable, Collection

import attrs

from edgeagent.gateway.needs import Need

#: Most jobs of one lane that are kept here, and that one look into the store brings.
WINDOW = 256

_Rank = tuple[int, int]  # minus priority, seq
_Entry = tuple[int, int, str, int]  # attempts in flight, turn, account, version


@attrs.frozen
class Waiting:
    """A job that may start; ``avoid`` are nodes that had it already."""

    job_id: str
    account_id: str
    need: Need
    priority: int
    seq: int
    avoid: frozenset[str] = frozenset()

    @property
    def rank(self) -> _Rank:
        """What orders the jobs of one account: the smallest is the first."""
        return (-self.priority, self.seq)


@attrs.frozen
class Unread:
    """The next job is in this lane, but in the store: read it, and call ``Backlog.fill`` with this."""

    account_id: str
    need: Need
    doubts: int


@attrs.define(eq=False)
class _Lane:
    """The first jobs of one account with one need.

    All jobs up to ``horizon`` are here, what comes after it is only in the store; without one all jobs are here.
    Unless the lane is ``known``, the store has to be read first; what is added meanwhile waits for that.
    """

    jobs: list[Waiting] = attrs.Factory(list)
    known: bool = True
    horizon: _Rank | None = None
    doubts: int = 0

    @property
    def empty(self) -> bool:
        return self.known and not self.jobs and self.horizon is None

    def add(self, job: Waiting) -> None:
        if self.horizon is not None and job.rank > self.horizon:
            return
        bisect.insort(self.jobs, job, key=_rank)
        if len(self.jobs) > WINDOW:
            self.jobs.pop()
            self.horizon = self.jobs[-1].rank

    def ask(self) -> None:
        """The store is about to be read."""
        if self.known:
            self.known, self.horizon = False, None

    def doubt(self) -> None:
        self.jobs.clear()
        self.known, self.horizon = False, None
        self.doubts += 1

    def fill(self, read: list[Waiting], taken: Collection[str]) -> None:
        if len(read) >= WINDOW:
            self.horizon = read[-1].rank if self.horizon is None else min(self.horizon, read[-1].rank)
        known = {job.job_id: job for job in (*self.jobs, *read) if job.job_id not in taken}
        inside = (job for job in known.values() if self.horizon is None or job.rank <= self.horizon)
        self.jobs, self.known = sorted(inside, key=_rank), True


@attrs.define(eq=False)
class _Account:
    version: int
    in_flight: int = 0
    turn: int = 0
    lanes: dict[Need, _Lane] = attrs.Factory(dict)


class Backlog:
    """The waiting jobs, as far as they are known here."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._heaps: dict[Need, list[_Entry]] = {}
        self._count = itertools.count(1)

    def lanes(self, account_id: str) -> int:
        """Return how many different needs an account's waiting jobs have, without those that only wait for a check."""
        account = self._accounts.get(account_id)
        return 0 if account is None else sum(not need.apart for need in account.lanes)

    def has(self, account_id: str, need: Need) -> bool:
        """Return whether jobs of the account with this need wait."""
        account = self._accounts.get(account_id)
        return account is not None and need in account.lanes

    def needs(self) -> list[Need]:
        """Return what waiting jobs need, each need once, in no order that matters."""
        return list(dict.fromkeys(need for account in self._accounts.values() for need in account.lanes))

    def has_next(self, can: Callable[[Need], bool]) -> bool:
        """Return whether ``next`` would give anything, as far as is known here."""
        return any(self._top(need) is not None and can(need) for need in list(self._heaps))

    def add(self, job: Waiting) -> None:
        """A job was queued and may start at once."""
        self._lane(job.account_id, job.need).add(job)

    def doubt(self, account_id: str, need: Need) -> None:
        """The store may have jobs in this lane that are not known here, in any place."""
        self._lane(account_id, need).doubt()

    def fill(self, asked: Unread, read: list[Waiting], taken: Collection[str] = ()) -> None:
        """Take what the store has of a lane, in its order, at most ``WINDOW`` jobs; fewer mean that there are no more.

        What happened to the lane while it was read is not lost.  ``taken`` are jobs that were handed out, but that the
        store does not know as started yet.
        """
        lane = self._accounts[asked.account_id].lanes[asked.need]
        if lane.doubts != asked.doubts:
            return
        lane.fill(read, taken)
        if lane.empty:
            del self._accounts[asked.account_id].lanes[asked.need]
            self._forget_idle(asked.account_id)

    def next(self, can: Callable[[Need], bool]) -> Waiting | Unread | None:
        """Take the next job among those whose need ``can`` be met now, or return what is to be read first.

        The caller says with ``flew`` that the attempt is in flight, or with ``doubt`` that it did not come to that.
        """
        first: _Entry | None = None
        open_needs = set()
        for need in list(self._heaps):
            top = self._top(need)
            if top is not None and can(need):
                open_needs.add(need)
                first = top if first is None else min(first, top)
        if first is None:
            return None
        account_id = first[2]
        lanes = self._accounts[account_id].lanes
        usable = [(need, lanes[need]) for need in lanes if need in open_needs]
        for need, lane in usable:
            if not lane.known or not lane.jobs:
                lane.ask()
                return Unread(account_id, need, lane.doubts)
        need, lane = min(usable, key=lambda one: one[1].jobs[0].rank)
        job = lane.jobs.pop(0)
        if lane.empty:
            del lanes[need]
        self._accounts[account_id].turn = next(self._count)
        self._moved(account_id)
        return job

    def flew(self, account_id: str) -> None:
        """An attempt for the account is in flight."""
        self._account(account_id).in_flight += 1
        self._moved(account_id)

    def landed(self, account_id: str) -> None:
        """It is over."""
        self._accounts[account_id].in_flight -= 1
        self._moved(account_id)
        self._forget_idle(account_id)

    def _account(self, account_id: str) -> _Account:
        account = self._accounts.get(account_id)
        if account is None:  # one that comes back must not match its old entries
            account = self._accounts[account_id] = _Account(version=next(self._count))
        return account

    def _lane(self, account_id: str, need: Need) -> _Lane:
        account = self._account(account_id)
        lane = account.lanes.get(need)
        if lane is None:
            lane = account.lanes[need] = _Lane()
            self._heaps.setdefault(need, [])
            self._push(account_id, account, need)
        return lane

    def _forget_idle(self, account_id: str) -> None:
        account = self._accounts[account_id]
        if not account.lanes and not account.in_flight:
            del self._accounts[account_id]

    def _moved(self, account_id: str) -> None:
        account = self._accounts[account_id]
        account.version = next(self._count)
        for need in account.lanes:
            self._push(account_id, account, need)

    def _push(self, account_id: str, account: _Account, need: Need) -> None:
        heap = self._heaps[need]
        heapq.heappush(heap, (account.in_flight, account.turn, account_id, account.version))
        if len(heap) > 2 * len(self._accounts) + 64:
            heap[:] = [entry for entry in heap if self._current(entry, need)]
            heapq.heapify(heap)

    def _top(self, need: Need) -> _Entry | None:
        heap = self._heaps[need]
        while heap and not self._current(heap[0], need):
            heapq.heappop(heap)
        if not heap:
            del self._heaps[need]
            return None
        return heap[0]

    def _current(self, entry: _Entry, need: Need) -> bool:
        account = self._accounts.get(entry[2])
        return account is not None and account.version == entry[3] and need in account.lanes


def _rank(job: Waiting) -> _Rank:
    return job.rank

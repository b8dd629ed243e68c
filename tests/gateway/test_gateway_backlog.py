"""Which job is next: fair between accounts, priority and age within one, with most of the queue elsewhere."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from edgeagent.gateway import backlog
from edgeagent.gateway.backlog import WINDOW, Backlog, Unread, Waiting
from edgeagent.gateway.needs import Need

ECHO, RENDER = Need("echo"), Need("render")


class Store:
    """The queue as the database has it: everything, in order."""

    def __init__(self) -> None:
        self.jobs: dict[str, Waiting] = {}
        self.count = itertools.count(1)

    def submit(self, account: str, need: Need = ECHO, priority: int = 5) -> Waiting:
        seq = next(self.count)
        job = self.jobs[f"j{seq}"] = Waiting(f"j{seq}", account, need, priority, seq)
        return job

    def heads(self, asked: Unread) -> list[Waiting]:
        lane = [job for job in self.jobs.values() if (job.account_id, job.need) == (asked.account_id, asked.need)]
        return sorted(lane, key=lambda job: job.rank)[:WINDOW]


def take(waiting: Backlog, store: Store, *needs: Need) -> Waiting | None:
    """Start the next job, reading the store when told to."""
    able = needs or (ECHO, RENDER)
    while isinstance(job := waiting.next(able.__contains__), Unread):
        waiting.fill(job, store.heads(job))
    if job is not None:
        del store.jobs[job.job_id]
        waiting.flew(job.account_id)
    return job


def made(store: Store, **queued: int) -> Backlog:
    """Return a backlog of so many jobs for each account."""
    waiting = Backlog()
    for account, jobs in queued.items():
        for _ in range(jobs):
            waiting.add(store.submit(account))
    return waiting


def test_a_hundred_thousand_jobs_do_not_starve_one() -> None:
    """Whoever comes second with one job is served second, not last."""
    store = Store()
    waiting = made(store, many=100_000)
    first = take(waiting, store)
    waiting.add(store.submit("one"))

    second = take(waiting, store)

    assert first is not None
    assert second is not None
    assert (first.account_id, second.account_id) == ("many", "one")


def test_slots_are_shared_equally_by_those_who_want_them() -> None:
    """Of twelve slots two accounts with much to do get six each, though one asked first and for all of them."""
    store = Store()
    waiting = made(store, first=20)
    flying = Counter(job.account_id for _ in range(12) if (job := take(waiting, store)) is not None)
    assert flying == Counter(first=12)
    for _ in range(20):
        waiting.add(store.submit("second"))
    for _ in range(6):
        waiting.landed("first")
        flying["first"] -= 1
        job = take(waiting, store)
        assert job is not None
        flying[job.account_id] += 1

    assert flying == Counter(first=6, second=6)


def test_equals_take_turns() -> None:
    """Three accounts whose jobs end at once are served one after the other."""
    store = Store()
    waiting = made(store, a=9, b=9, c=9)
    served = []
    for _ in range(9):
        job = take(waiting, store)
        assert job is not None
        waiting.landed(job.account_id)
        served.append(job.account_id)

    assert served == ["a", "b", "c"] * 3


def test_priority_orders_the_jobs_of_one_account_only() -> None:
    """The highest first, then the oldest, over all that it needs; another account is not overtaken by it."""
    store, waiting = Store(), Backlog()
    waiting.add(store.submit("a", ECHO, 1))
    waiting.add(store.submit("a", RENDER, 9))
    waiting.add(store.submit("a", ECHO, 9))
    waiting.add(store.submit("b", ECHO, 0))

    order = [(job.account_id, job.need, job.priority) for _ in range(4) if (job := take(waiting, store)) is not None]

    assert order == [("a", RENDER, 9), ("b", ECHO, 0), ("a", ECHO, 9), ("a", ECHO, 1)]


def test_what_cannot_start_now_holds_nothing_up() -> None:
    """An important job that no node has room for is passed over, and is there when one has."""
    store, waiting = Store(), Backlog()
    waiting.add(store.submit("a", RENDER, 9))
    waiting.add(store.submit("a", ECHO, 0))

    first, none, second = take(waiting, store, ECHO), take(waiting, store, ECHO), take(waiting, store, RENDER)

    assert first is not None
    assert second is not None
    assert none is None
    assert (first.need, second.need) == (ECHO, RENDER)


def test_only_the_first_jobs_of_a_lane_are_kept() -> None:
    """However many are queued; and nothing is left of an account that has nothing to do."""
    store = Store()
    waiting = made(store, a=10 * WINDOW)
    assert len(waiting._accounts["a"].lanes[ECHO].jobs) <= WINDOW

    for _ in range(10 * WINDOW):
        assert take(waiting, store) is not None
        waiting.landed("a")

    assert take(waiting, store) is None
    assert not waiting._accounts


def test_jobs_that_wait_for_a_check_do_not_count_as_different_needs() -> None:
    """An account may have so many different needs; which operators have had its jobs is not its doing."""
    store = Store()
    waiting = made(store, a=1)
    for number in range(100):
        waiting.add(store.submit("a", Need("echo", apart=(f"operator-{number}",))))

    assert waiting.lanes("a") == 1


def test_turns_for_ever_take_no_memory() -> None:
    """Overtaken entries do not pile up."""
    store, waiting = Store(), Backlog()
    waiting.add(store.submit("idle", RENDER))
    for _ in range(10_000):
        waiting.add(store.submit("a"))
        assert take(waiting, store, ECHO) is not None
        waiting.landed("a")

    assert sum(len(heap) for heap in waiting._heaps.values()) < 200


class Rivals(RuleBasedStateMachine):
    """Accounts submit, jobs start, end, rest and vanish, and reads of the store overlap with all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.store, self.backlog = Store(), Backlog()
        self.flying: list[Waiting] = []
        self.reading: tuple[Unread, list[Waiting]] | None = None

    @rule(account=st.sampled_from("abc"), need=st.sampled_from([ECHO, RENDER]), priority=st.integers(0, 2))
    def submit(self, account: str, need: Need, priority: int) -> None:
        self.backlog.add(self.store.submit(account, need, priority))

    @rule(account=st.sampled_from("abc"), need=st.sampled_from([ECHO, RENDER]))
    def submit_many(self, account: str, need: Need) -> None:
        for _ in range(5):
            self.submit(account, need, 1)

    @precondition(lambda self: self.reading is None)
    @rule(able=st.sampled_from([(ECHO,), (RENDER,), (ECHO, RENDER)]))
    def start(self, able: tuple[Need, ...]) -> None:
        """The next job is the fair one among all that the store has; or the store is to be read."""
        job = self.backlog.next(able.__contains__)
        if isinstance(job, Unread):
            self.reading = (job, self.store.heads(job))
            return
        live = [one for one in self.store.jobs.values() if one.need in able]
        if job is None:
            assert not live
            return
        if job.job_id not in self.store.jobs:
            self.backlog.doubt(job.account_id, job.need)  # as the dispatcher does: it has ended meanwhile
            return
        running = Counter(one.account_id for one in self.flying)
        assert running[job.account_id] == min(running[one.account_id] for one in live)
        assert job.rank == min(one.rank for one in live if one.account_id == job.account_id)
        del self.store.jobs[job.job_id]
        self.backlog.flew(job.account_id)
        self.flying.append(job)

    @precondition(lambda self: self.reading is not None)
    @rule()
    def read(self) -> None:
        """What was read a while ago arrives."""
        assert self.reading is not None
        self.backlog.fill(*self.reading)
        self.reading = None

    @precondition(lambda self: self.flying)
    @rule(number=st.integers(0, 99), again=st.booleans())
    def end(self, number: int, again: bool) -> None:
        """An attempt ends; its job may rest, and wait again with its old number."""
        job = self.flying.pop(number % len(self.flying))
        self.backlog.landed(job.account_id)
        if again:
            self.store.jobs[job.job_id] = job
            self.backlog.doubt(job.account_id, job.need)

    @precondition(lambda self: self.store.jobs)
    @rule(number=st.integers(0, 99))
    def cancel(self, number: int) -> None:
        """Nobody tells the backlog."""
        del self.store.jobs[list(self.store.jobs)[number % len(self.store.jobs)]]

    @invariant()
    def everything_is_found_in_the_end(self) -> None:
        if self.reading is None:
            known = {(one.account_id, one.need) for one in self.store.jobs.values()}
            assert all(self.backlog.has(account, need) for account, need in known)


def test_the_order_is_fair_whatever_happens(monkeypatch: Any) -> None:
    """With windows so small that most of the queue is always elsewhere."""
    monkeypatch.setattr(backlog, "WINDOW", 3)
    monkeypatch.setitem(globals(), "WINDOW", 3)

    run_state_machine_as_test(Rivals, settings=settings(max_examples=150, stateful_step_count=60, deadline=None))

"""The store on real databases of both kinds: commits shared, requests undone alone, callers told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
import trio
from stored import add, names

from edgeagent.gateway.store import Store, StoreUnavailableError, Tx, tables
from edgeagent.gateway.store.engine import Database
from edgeagent.gateway.store.writer import MAX_TOGETHER


def add_and_fail(tx: Tx, name: str) -> None:
    """A request that finds after its first row that it cannot go on."""
    add(tx, name)
    raise LookupError(name)


async def test_what_was_written_is_read(store: Store) -> None:
    """A write returns what its request returned, and a read that comes after it sees it."""
    assert await store.write(add, "echo") == "echo"
    assert await store.read(names) == ["echo"]


async def test_a_request_that_raises_is_undone_alone(store: Store) -> None:
    """Its caller gets the exception; those that were committed with it are stored."""
    outcomes: dict[str, str] = {}

    async def write(request: Callable[[Tx, str], Any], name: str) -> None:
        try:
            await store.write(request, name)
            outcomes[name] = "stored"
        except LookupError as error:
            outcomes[name] = f"refused {error}"

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(write, add_and_fail if number % 3 == 0 else add, f"{number:02}")

    stored = [f"{number:02}" for number in range(20) if number % 3]
    assert await store.read(names) == stored
    assert {name for name, what in outcomes.items() if what == "stored"} == set(stored)
    assert outcomes["03"] == "refused 03"


async def test_a_constraint_that_fails_undoes_one_request(store: Store) -> None:
    """The database's own refusal is the caller's exception too."""
    await store.write(add, "echo")

    with pytest.raises(sa.exc.IntegrityError):
        await store.write(add, "echo")

    await store.write(add, "render")
    assert await store.read(names) == ["echo", "render"]


async def test_a_request_sees_the_clock(database: Database) -> None:
    """``now`` is the gateway's clock, which the caller may bring."""
    store = Store(database, clock=lambda: 42.0, inline=True)

    assert (await store.write(lambda tx: tx.now), await store.read(lambda tx: tx.now)) == (42.0, 42.0)
    store.close()


async def test_waiting_requests_are_committed_together(database: Database) -> None:
    """While one commit is under way the others gather; they share the next one."""
    store = Store(database)
    commits = 0
    entered, go = threading.Event(), threading.Event()

    def count(_: Any) -> None:
        nonlocal commits
        commits += 1

    def hold(_: Tx) -> None:
        entered.set()
        go.wait(10)

    sa.event.listen(store._writing, "commit", count)
    async with trio.open_nursery() as writing:
        await writing.start(store.run)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, hold)
            await trio.to_thread.run_sync(entered.wait, 10)
            for number in range(100):
                nursery.start_soon(store.write, add, str(number))
            await trio.testing.wait_all_tasks_blocked()
            go.set()
        assert len(await store.read(names)) == 100
        writing.cancel_scope.cancel()
    store.close()

    assert commits == 2


async def test_the_same_work_is_done_for_all_by_one_call(database: Database) -> None:
    """What waits while another commit is under way; everybody gets the results of their own items."""
    store = Store(database)
    calls: list[int] = []
    results: dict[int, list[str]] = {}
    entered, go = threading.Event(), threading.Event()

    def hold(_: Tx) -> None:
        entered.set()
        go.wait(10)

    def add_all(tx: Tx, items: Sequence[str]) -> list[str]:
        calls.append(len(items))
        return [add(tx, item).upper() for item in items]

    async def write(number: int) -> None:
        results[number] = await store.write_all(add_all, [f"{number}{letter}" for letter in "ab"])

    async with trio.open_nursery() as writing:
        await writing.start(store.run)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, hold)
            await trio.to_thread.run_sync(entered.wait, 10)
            for number in range(20):
                nursery.start_soon(write, number)
                nursery.start_soon(store.write, add, str(number))
            await trio.testing.wait_all_tasks_blocked()
            go.set()
        assert len(await store.read(names)) == 60
        writing.cancel_scope.cancel()
    store.close()

    assert calls == [40]
    assert results == {number: [f"{number}A", f"{number}B"] for number in range(20)}


async def test_work_for_many_that_raises_is_undone_for_its_own_caller_alone(store: Store) -> None:
    """The others' items are done without it."""
    outcomes: dict[str, object] = {}

    def add_all(tx: Tx, items: Sequence[str]) -> list[str]:
        done = [add(tx, item) for item in items]
        if "bad" in items:
            raise LookupError("bad")
        return done

    async def write(*items: str) -> None:
        try:
            outcomes[items[0]] = await store.write_all(add_all, items)
        except LookupError as error:
            outcomes[items[0]] = str(error)

    async with trio.open_nursery() as nursery:
        for items in (("a", "b"), ("c", "bad"), ("d",)):
            nursery.start_soon(write, *items)

    assert outcomes == {"a": ["a", "b"], "c": "bad", "d": ["d"]}
    assert await store.read(names) == ["a", "b", "d"]


async def test_work_for_many_has_an_end(store: Store) -> None:
    """One call gets no more items than a statement may have parameters, but for one caller's own."""
    sizes: list[int] = []

    def note(_: Tx, items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        return items

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(store.write_all, note, range(100))
    await store.write_all(note, range(2 * MAX_TOGETHER))

    assert sum(sizes[:-1]) == 3000
    assert max(sizes[:-1]) <= MAX_TOGETHER
    assert sizes[-1] == 2 * MAX_TOGETHER


async def test_nothing_to_do_is_done_without_a_commit(database: Database) -> None:
    """No items, no request: the store need not even run."""
    store = Store(database)

    assert await store.write_all(lambda _, items: items, []) == []
    store.close()


async def test_a_caller_that_waits_when_the_store_stops_is_told(database: Database) -> None:
    """Nobody waits for ever: what was under way is finished, what waited is refused."""
    store = Store(database)
    entered, go = threading.Event(), threading.Event()
    told: list[str] = []

    def hold(tx: Tx) -> None:
        entered.set()
        go.wait(10)
        add(tx, "under way")

    async def write(request: Any, *args: Any) -> None:
        try:
            await store.write(request, *args)
            told.append("stored")
        except StoreUnavailableError as error:
            told.append(str(error))

    async with trio.open_nursery() as nursery:
        writing = trio.CancelScope()

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with writing:
                await store.run(task_status=task_status)

        await nursery.start(run)
        nursery.start_soon(write, hold)
        await trio.to_thread.run_sync(entered.wait, 10)
        for number in range(1200):  # more than the channel holds
            nursery.start_soon(write, add, str(number))
        await trio.testing.wait_all_tasks_blocked()
        writing.cancel()
        go.set()

    assert told.count("stored") == 1
    assert told.count("the gateway is shutting down") == 1200
    with pytest.raises(StoreUnavailableError):
        await store.write(add, "late")
    store.close()
    again = Store(database, inline=True)
    assert await again.read(names) == ["under way"]
    again.close()


async def test_a_reader_cannot_write(store: Store) -> None:
    """Writes have one way, through the writer."""
    with pytest.raises(StoreUnavailableError, match=r"read-?only"):
        await store.read(add, "echo")


async def test_a_request_reads_one_picture(store: Store) -> None:
    """What is committed between two statements of a read is not seen by the second."""
    if store._inline:
        return  # nothing can happen in between
    read, written = threading.Event(), threading.Event()

    def look_twice(tx: Tx) -> tuple[list[str], list[str]]:
        first = names(tx)
        read.set()
        assert written.wait(20)
        return first, names(tx)

    async def write_between() -> None:
        await trio.to_thread.run_sync(read.wait, 20)
        await store.write(add, "echo")
        written.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_between)
        assert await store.read(look_twice) == ([], [])


async def test_a_nul_in_a_text_is_stored_and_found_alike(store: Store) -> None:
    """PostgreSQL has none; a stranger who sends one breaks nothing."""
    await store.write(add, "a\0b")

    assert await store.read(names) == ["a\ufffdb"]
    where = sa.select(tables.job_types.c.job_type).where(tables.job_types.c.job_type == sa.bindparam("name"))
    assert await store.read(lambda tx: tx.connection.scalar(where, {"name": "a\0b"})) == "a\ufffdb"

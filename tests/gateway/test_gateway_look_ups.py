"""Look-ups by key: without a thread where the database is SQLite, and like any other read where they cannot be."""

from __future__ import annotations

import sqlite3
import threading

import pytest
import sqlalchemy as sa
from stored import add, names

from edgeagent.gateway.store import Store, StoreUnavailableError, Tx
from edgeagent.gateway.store.engine import Database


def where(tx: Tx) -> str:
    """Return the name of the thread that looks."""
    names(tx)
    return threading.current_thread().name


async def test_a_look_up_sees_what_was_written_before_it(store: Store) -> None:
    """Also when the one before it was read on the same connection."""
    for name in ("echo", "render"):
        await store.write(add, name)
        assert name in await store.look_up(names)


async def test_sqlite_answers_a_look_up_without_a_thread(store: Store) -> None:
    """PostgreSQL, whose answer may take its time, is asked in one."""
    here = threading.current_thread().name

    assert (await store.look_up(where) == here) == (store._inline or store._at_hand is not None)


async def test_a_look_up_that_would_wait_is_read_in_a_thread(store: Store) -> None:
    """No lock holds up the links; the thread waits instead."""
    here = threading.current_thread()

    def locked(tx: Tx) -> list[str]:
        if threading.current_thread() is here and not store._inline:
            raise sa.exc.OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked"))
        return names(tx)

    await store.write(add, "echo")
    assert await store.look_up(locked) == ["echo"]
    assert await store.look_up(names) == ["echo"]


async def test_a_look_up_that_raises_leaves_nothing_open(store: Store) -> None:
    """Its caller gets the exception, and the next one a fresh picture."""

    def fail(tx: Tx) -> None:
        names(tx)
        raise LookupError("echo")

    with pytest.raises(LookupError):
        await store.look_up(fail)
    await store.write(add, "echo")
    assert await store.look_up(names) == ["echo"]


async def test_a_look_up_cannot_write(store: Store) -> None:
    """Writes have one way, through the writer."""
    with pytest.raises(StoreUnavailableError, match=r"read-?only"):
        await store.look_up(add, "echo")


async def test_a_store_that_is_closed_is_not_looked_at(database: Database) -> None:
    """Whoever asks is told that the gateway stops."""
    store = Store(database, inline=True)
    store.close()
    with pytest.raises(StoreUnavailableError, match="shutting down"):
        await store.look_up(names)

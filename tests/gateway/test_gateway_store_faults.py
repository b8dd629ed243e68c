"""A store whose disk is full, whose database is locked, whose process is killed: nothing half done, of both kinds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from stored import add, names

from edgeagent.gateway.store import Store, StoreUnavailableError, Tx, tables
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.engine import Database, open_engine


async def test_a_full_disk_refuses_and_recovers(store: Store) -> None:
    """Every request that shared the commit is refused; once there is room, the same store goes on."""
    await store.write(add, "before")
    await store.write(fill_disk)

    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="full"):
            await store.write(add, "full" * 25)

    await store.write(free_disk)
    await store.write(add, "after")
    assert await store.read(names) == ["after", "before"]


def fill_disk(tx: Tx) -> None:
    """Have the next row end as on a full disk: PostgreSQL says so itself, SQLite meets an end of its file."""
    if tx.connection.dialect.name == "postgresql":
        tx.connection.exec_driver_sql(
            "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'could not extend file: disk full' USING ERRCODE = 'disk_full'; END $$"
        )
        tx.connection.exec_driver_sql("CREATE TRIGGER fill BEFORE INSERT ON job_types EXECUTE FUNCTION fill()")
        return
    tx.connection.exec_driver_sql("CREATE TABLE filler (x)")
    tx.connection.exec_driver_sql(
        "CREATE TRIGGER fill BEFORE INSERT ON job_types WHEN new.job_type LIKE 'full%' BEGIN"
        " INSERT INTO filler VALUES (zeroblob(100000)); END"
    )
    pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    tx.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")


def free_disk(tx: Tx) -> None:
    """Make room again."""
    if tx.connection.dialect.name == "postgresql":
        tx.connection.exec_driver_sql("DROP TRIGGER fill ON job_types")
    else:
        tx.connection.exec_driver_sql("PRAGMA max_page_count=100000")


async def test_a_locked_database_refuses(store: Store, database: Database) -> None:
    """Another process that does not let go costs the request, not the gateway."""
    await store.write(lose_patience)
    other = open_engine(database, writer=True)
    with other.begin(), pytest.raises(StoreUnavailableError, match=r"locked|lock timeout"):
        await store.write(add, "during")

    await store.write(add, "after")
    assert await store.read(names) == ["after"]
    other.dispose()


def lose_patience(tx: Tx) -> None:
    """Wait for nobody from now on."""
    postgresql = tx.connection.dialect.name == "postgresql"
    tx.connection.exec_driver_sql("SET lock_timeout = 20" if postgresql else "PRAGMA busy_timeout=20")


KILLED = """
import sys, trio
from pathlib import Path
from sqlalchemy import make_url
from edgeagent.gateway import ledger
from edgeagent.gateway.store import Store
from edgeagent.gateway.store import ledger as books

async def main():
    store = Store(make_url(sys.argv[1]) if ":" in sys.argv[1] else Path(sys.argv[1]))
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        for lane in range(8):
            nursery.start_soon(grants, store, lane)

async def grants(store, lane):
    for number in range(100_000):
        await store.write(books.post, ledger.grant(f"{lane}", 1 + number))
        print(lane, 1 + number, flush=True)

trio.run(main)
"""


def test_nothing_that_was_reported_stored_is_lost_by_a_kill(database: Database) -> None:
    """After kill -9 in the middle of many commits the books balance and hold every entry that was confirmed."""
    where = str(database) if isinstance(database, Path) else database.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", KILLED, where], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        confirmed = [process.stdout.readline().split() for _ in range(200)]
        process.kill()
        confirmed += [line.split() for line in process.stdout.read().splitlines() if len(line.split()) == 2]

    engine = open_engine(database, writer=True)
    with engine.begin() as connection:
        stored = list(books.entries(Tx(connection, 0.0)))
        balances = dict(connection.execute(sa.select(tables.ledger_accounts)).all())
    engine.dispose()
    kept = {(one.entry.postings[-1].account, one.entry.postings[-1].amount_ucr) for one in stored}
    assert {(f"submitter:{lane}", int(amount)) for lane, amount in confirmed} <= kept
    assert sum(balances.values()) == 0
    assert [one.seq for one in stored] == list(range(1, len(stored) + 1))

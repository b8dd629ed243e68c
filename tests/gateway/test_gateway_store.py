"""The store on real databases of both kinds: commits shared, requests undone alone, nothing half done after a kill."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import alembic.migration
import pytest
import sqlalchemy as sa
import trio
from alembic.autogenerate import compare_metadata

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import auth, ledger
from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.store import Store, StoreUnavailableError, Tx, accounts, tables
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.engine import Database, migrate, open_engine

ADD = sa.insert(tables.job_types)


def add(tx: Tx, name: str) -> str:
    """A request that stores one row."""
    tx.connection.execute(ADD, {"job_type": name})
    return name


def add_and_fail(tx: Tx, name: str) -> None:
    """A request that finds after its first row that it cannot go on."""
    add(tx, name)
    raise LookupError(name)


def names(tx: Tx) -> list[str]:
    """Every row there is."""
    return sorted(tx.connection.scalars(sa.select(tables.job_types.c.job_type)))


@pytest.fixture(params=["threads", "inline"])
async def store(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Store]:
    """A running store."""
    made = Store(database, inline=request.param == "inline")
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()
    made.close()


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
    pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    tx.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    tx.connection.exec_driver_sql(
        "CREATE TRIGGER fill BEFORE INSERT ON job_types WHEN new.job_type LIKE 'full%' BEGIN"
        " INSERT INTO filler VALUES (zeroblob(100000)); END"
    )


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


def test_the_migration_makes_what_the_tables_say(database: Database) -> None:
    """Whoever changes a table and forgets the migration is told here."""
    engine = open_engine(database, writer=True)
    migrate(engine)
    migrate(engine)
    with engine.connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def test_the_migration_can_be_undone(database: Database) -> None:
    """And leaves nothing behind."""
    engine = open_engine(database, writer=True)
    migrate(engine)
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(tables.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, "base")
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_sqlite_is_set_up_for_a_gateway(tmp_path: Path) -> None:
    """Readers beside the writer, commits on disk, references that hold."""
    engine = open_engine(tmp_path / "gateway.db", writer=True)
    with engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    engine.dispose()
    assert found == ["wal", 2, 1]


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


async def test_a_token_can_be_made_beside_a_running_gateway(tmp_path: Path, database: Database) -> None:
    """Another connection adds to the same account, and to the same chain, while the writer works."""
    create = partial(create_token, database=None if isinstance(database, Path) else database)
    await trio.to_thread.run_sync(create, tmp_path, "studio", 5)
    store = Store(database)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        async with trio.open_nursery() as both:
            for number in range(20):
                both.start_soon(store.write, books.post, ledger.grant(f"{number}", 1))
                both.start_soon(trio.to_thread.run_sync, create, tmp_path, "studio", 1)
        token = await trio.to_thread.run_sync(create, tmp_path, "studio", 7)
        account = await store.read(accounts.of_token, auth.token_sha256(token))
        assert account is not None
        assert await store.read(accounts.balance, account) == accounts.Balance("studio", 32, 0)
        assert len(await store.read(lambda tx: list(books.entries(tx)))) == 42
        nursery.cancel_scope.cancel()
    store.close()


def test_a_token_is_not_stored(tmp_path: Path) -> None:
    """Who reads the database cannot submit."""
    token = create_token(tmp_path / "new" / "data", "studio", 0)

    assert token.startswith("ea_")
    assert len(token) == 46
    data = (tmp_path / "new" / "data" / "gateway.db").read_bytes()
    assert token.encode() not in data
    assert auth.token_sha256(token).encode() in data
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("name", "grant"), [("", 0), (" ", 0), ("a\nb", 0), ("x" * 101, 0), ("studio", -1)])
def test_an_account_that_makes_no_sense_is_refused(tmp_path: Path, name: str, grant: int) -> None:
    """One line, and nothing is made."""
    with pytest.raises(UsageError):
        create_token(tmp_path / "data", name, grant)
    assert not (tmp_path / "data").exists()


def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    """A file where the directory should be; a file that is no database."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(EdgeAgentError, match="cannot use"):
        create_token(tmp_path / "file", "studio", 0)
    (tmp_path / "gateway.db").write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    with pytest.raises(EdgeAgentError, match="cannot use the database"):
        create_token(tmp_path, "studio", 0)

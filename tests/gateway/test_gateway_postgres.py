"""What only PostgreSQL can do to a gateway: end, break in the middle of a commit, be asked for by two."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import trio
from scripted import PATIENCE_S, on_a_port, submit
from stored import add, names

import postgres_server
from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import service
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.needs import Need
from edgeagent.gateway.store import Store, StoreUnavailableError, accounts, nodes, queue, submissions, tables
from edgeagent.gateway.store.address import parse, parse_open, read, shown
from edgeagent.gateway.store.engine import open_engine
from edgeagent.gateway.store.flights import Flight
from edgeagent.gateway.store.submissions import New

pytestmark = pytest.mark.needs("postgresql")


@pytest.fixture(scope="module")
def second_server() -> Iterator[postgres_server.Server]:
    """Another server than everybody else's."""
    with postgres_server.running() as server:
        yield server


@pytest.fixture
def own_server(second_server: postgres_server.Server) -> Iterator[postgres_server.Server]:
    """A running server that the test may end."""
    yield second_server
    second_server.stop()
    second_server.start()


async def test_a_server_that_ends_is_waited_for(own_server: postgres_server.Server) -> None:
    """Requests are refused while it is away; the first after that is stored, by the same store, and read."""
    store = Store(own_server.make(), inline=True)
    await store.write(add, "before")

    for how in (signal.SIGINT, signal.SIGQUIT):
        own_server.stop(how)
        with pytest.raises(StoreUnavailableError):
            await store.write(add, "during")
        with pytest.raises(StoreUnavailableError):
            await store.read(names)
        own_server.start()
        await store.write(add, f"after {how}")

    assert await store.read(names) == ["after 2", "after 3", "before"]
    store.close()


async def test_a_server_that_was_restarted_unnoticed_costs_nothing(own_server: postgres_server.Server) -> None:
    """Nobody used the old connections meanwhile: neither a write nor a read is refused."""
    store = Store(own_server.make(), inline=True)
    await store.read(names)
    own_server.stop()
    own_server.start()

    assert await store.read(names) == []
    await store.write(add, "echo")
    assert await store.read(names) == ["echo"]
    store.close()


@pytest.mark.parametrize("reached", [True, False])
async def test_a_commit_whose_answer_was_lost_is_asked_for(
    postgresql: postgres_server.Server, reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks around COMMIT; the caller hears what became of it, whichever it was."""
    url = postgresql.make()
    store = Store(url)
    breaking = iter([True])
    real = psycopg.Connection.commit

    def commit(connection: psycopg.Connection[Any]) -> None:
        if next(breaking, False):
            if reached:
                real(connection)
            postgresql.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 20000)")
            connection.execute("SELECT 1")  # notices, as COMMIT would have
        real(connection)

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            monkeypatch.setattr(psycopg.Connection, "commit", commit)
            if reached:
                await store.write(add, "echo")
            else:
                with pytest.raises(StoreUnavailableError, match="terminat"):
                    await store.write(add, "echo")
            await store.write(add, "render")
            nursery.cancel_scope.cancel()
    assert await store.read(names) == (["echo", "render"] if reached else ["render"])
    store.close()
    postgresql.drop(url)


async def test_stopping_does_not_wait_for_a_server_that_is_gone(
    own_server: postgres_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit is in doubt and the server away: its caller is refused when the gateway stops."""
    store = Store(own_server.make())
    broken = trio.Event()
    token = trio.lowlevel.current_trio_token()
    told: list[str] = []

    def commit(connection: psycopg.Connection[Any]) -> None:
        own_server.stop()
        token.run_sync_soon(broken.set)
        connection.execute("SELECT 1")

    async def write() -> None:
        with pytest.raises(StoreUnavailableError) as refused:
            await store.write(add, "echo")
        told.append(str(refused.value))

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as writing, trio.open_nursery() as nursery:
            await nursery.start(store.run)
            monkeypatch.setattr(psycopg.Connection, "commit", commit)
            writing.start_soon(write)
            await broken.wait()
            nursery.cancel_scope.cancel()
    assert told == ["the gateway is shutting down"]
    store.close()


async def test_a_gateway_goes_on_after_a_restart_of_its_database(
    own_server: postgres_server.Server, tmp_path: Path
) -> None:
    """The node's link, the queue and the books are there again; what was asked in between is refused, with 503."""
    url = own_server.make()
    async with on_a_port(tmp_path, postgres=url) as gateway:
        operator, token = await gateway.enlist(), await gateway.account()
        async with gateway.http(token) as http:
            own_server.stop()
            assert (await http.post("/jobs", json={"job_type": "render"})).status_code == 503
            own_server.start()
            job = await submit(http)
            async with gateway.as_node(operator) as node:
                await node.ready()
                dispatch = await node.accept()
                assert (await node.finish(dispatch)).credited_ucr == 10_000_000
            assert (await http.get(f"/jobs/{job['job_id']}")).json()["status"] == "COMPLETED"


async def test_a_second_gateway_on_the_same_database_is_refused(
    postgresql: postgres_server.Server, tmp_path: Path
) -> None:
    """Whatever directory it has; one line says where the first one is to be looked for."""
    url = postgresql.make()
    async with on_a_port(tmp_path / "a", postgres=url):
        with pytest.raises(EdgeAgentError, match=r"^cannot use the database postgresql://.*: another gateway uses it"):
            await service.run(GatewaySettings(data_dir=tmp_path / "b", port=0, postgres=url))
    async with on_a_port(tmp_path / "b", postgres=url):
        pass
    postgresql.drop(url)


async def test_a_gateway_that_was_overtaken_writes_nothing(postgresql: postgres_server.Server) -> None:
    """It lost its connection, and with it the database, to another one; it gets it back when that has ended."""
    url = postgresql.make()
    first = Store(url, inline=True)
    await first.write(add, "first")
    postgresql.execute(
        f"SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE datname = '{url.database}'"
    )
    second = Store(url, inline=True)

    with pytest.raises(StoreUnavailableError, match="another gateway uses it"):
        await first.write(add, "late")
    await second.write(add, "second")
    second.close()
    await first.write(add, "again")
    assert await first.read(names) == ["again", "first", "second"]
    first.close()
    postgresql.drop(url)


async def test_claims_pass_over_what_another_is_claiming(postgresql: postgres_server.Server) -> None:
    """A job's row that another connection holds is skipped, not waited for."""
    url = postgresql.make()
    store = Store(url, inline=True)
    await store.write(accounts.add_token, "studio", "hash", 0)
    account = await store.read(accounts.of_token, "hash")
    node = await store.write(nodes.register, nodes.Applicant("n", "key", ("echo",), {}))
    assert account is not None
    for job in "ab":
        new = New(job_id=job, account_id=account, job_type="echo")
        await store.write(submissions.submit, account, [new], 0.0)
    flights = [
        Flight(attempt_id=f"attempt {job}", job_id=job, node_id=node, account_id=account, need=Need("echo"))
        for job in "ab"
    ]

    other = open_engine(url, writer=False)
    with other.connect() as connection:
        connection.connection.dbapi_connection.read_only = False  # type: ignore[union-attr]
        connection.execute(sa.select(tables.jobs).where(tables.jobs.c.job_id == "a").with_for_update())
        assert set(await store.write(queue.start, flights)) == {"attempt b"}
    assert set(await store.write(queue.start, flights)) == {"attempt a"}
    other.dispose()
    store.close()
    postgresql.drop(url)


async def test_no_server_is_one_line(tmp_path: Path) -> None:
    """With the address, without its password."""
    nowhere = parse(f"postgresql://me:secret@/db?host={tmp_path}", "x")
    with pytest.raises(EdgeAgentError, match=r"^cannot use the database postgresql://me:\*\*\*@/db") as refused:
        await service.run(GatewaySettings(data_dir=tmp_path / "data", port=0, postgres=nowhere))
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "gateway.db", "mysql://a/b", "postgresql://host", "postgresql://a:b:c/d", "http://x/y"]
)
def test_an_address_that_is_none_is_one_line(text: str) -> None:
    """Which never quotes it."""
    with pytest.raises(UsageError, match=r"^EDGEAGENT_DATABASE must be the address of") as refused:
        parse(text, "EDGEAGENT_DATABASE")
    assert text == "" or text not in str(refused.value)


@pytest.mark.parametrize("text", ["postgresql://me:secret@host/db", "postgres://me@host/db?password=secret"])
def test_a_password_does_not_stand_on_the_command_line(text: str, tmp_path: Path) -> None:
    """In the environment or a file it may; shown it is nowhere."""
    with pytest.raises(UsageError, match="EDGEAGENT_DATABASE or into a file") as refused:
        parse_open(text, "--database")
    assert "secret" not in str(refused.value)
    (tmp_path / "address").write_text(text + "\n")
    assert read(tmp_path / "address") == parse(text, "x")
    assert "secret" not in shown(parse(text, "x"))
    assert parse_open("postgresql://me@host/db", "--database").username == "me"


def test_a_file_without_an_address_is_one_line(tmp_path: Path) -> None:
    """Missing, or something else."""
    with pytest.raises(UsageError, match="No such file"):
        read(tmp_path / "nothing")
    (tmp_path / "other").write_text("x")
    with pytest.raises(UsageError, match="other must be the address"):
        read(tmp_path / "other")

"""A gateway for each test: in memory on a virtual clock, or on a port with everything real."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
import trio
from scripted import MemoryGateway, PortGateway, in_memory, on_a_port

from edgeagent.gateway.store import Store, sqlite
from edgeagent.gateway.store.engine import Database, migrate, open_engine
from postgres_server import Server


@pytest.fixture(scope="session")
def sqlite_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with the schema and nothing else, to make others from."""
    database = tmp_path_factory.mktemp("schema") / "gateway.db"
    engine = open_engine(database, writer=True)
    migrate(engine)
    engine.dispose()
    return database


@pytest.fixture(autouse=True)
def made_once(sqlite_schema: Path) -> Iterator[None]:
    """Have a new SQLite database of this process be a copy: to migrate it takes a tenth of a second more, for each."""
    open_file = sqlite.open_engine

    def open_copy(database: Path, **options: Any) -> sa.Engine:
        if options["writer"] and database.parent.is_dir() and not database.exists():
            shutil.copyfile(sqlite_schema, database)
        return open_file(database, **options)

    # Not the test's own monkeypatch: asked for here, it would be undone after the test's other fixtures, not before.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "open_engine", open_copy)
        yield


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield tmp_path / "gateway.db"
        return
    server: Server = request.getfixturevalue("postgresql")
    url = server.make()
    yield url
    server.drop(url)


@pytest.fixture(params=["threads", "inline"])
async def store(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Store]:
    """A running store."""
    made = Store(database, inline=request.param == "inline")
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()
    made.close()


@pytest.fixture(scope="session")
def postgresql_schema(postgresql: Server) -> str:
    """A PostgreSQL database with the schema and nothing else, to make others from."""
    url = postgresql.make()
    engine = open_engine(url, writer=True)
    migrate(engine)
    engine.dispose()
    assert url.database is not None
    return url.database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
async def memory_gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MemoryGateway]:
    """A gateway without port or threads; the test must ask for ``autojump_clock`` itself, or time is real."""
    if request.param == "sqlite":
        async with in_memory(tmp_path) as gateway:
            yield gateway
        return
    server: Server = request.getfixturevalue("postgresql")
    url = server.make(request.getfixturevalue("postgresql_schema"))
    async with in_memory(tmp_path, postgres=url) as gateway:
        yield gateway
    server.drop(url)


@pytest.fixture
async def port_gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PortGateway]:
    """A gateway as its command runs it, on SQLite unless the test says ``scripted.on_both_databases``."""
    if getattr(request, "param", "sqlite") == "sqlite":
        async with on_a_port(tmp_path) as gateway:
            yield gateway
        return
    server: Server = request.getfixturevalue("postgresql")
    url = server.make(request.getfixturevalue("postgresql_schema"))
    async with on_a_port(tmp_path, postgres=url) as gateway:
        yield gateway
    server.drop(url)


@pytest.fixture
async def submitter(port_gateway: PortGateway) -> AsyncIterator[httpx2.AsyncClient]:
    """A submitter's client, with 1000 credits."""
    async with port_gateway.http(await port_gateway.account()) as http:
        yield http


@pytest.fixture
async def anyone(port_gateway: PortGateway) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a token."""
    async with port_gateway.http() as http:
        yield http

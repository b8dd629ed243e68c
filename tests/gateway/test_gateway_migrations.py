"""The schema: made by its migrations, undone by them, and set up as a gateway needs it."""

from __future__ import annotations

from pathlib import Path

import alembic.command
import alembic.config
import alembic.migration
import alembic.script
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata

from edgeagent.gateway.store import tables
from edgeagent.gateway.store.engine import NEWEST, Database, migrate, open_engine


@pytest.fixture(autouse=True)
def made_once() -> None:
    """Each database is made here by its migrations, not copied as elsewhere."""


def test_the_migration_makes_what_the_tables_say(database: Database) -> None:
    """Whoever changes a table and forgets the migration is told here."""
    engine = open_engine(database, writer=True)
    migrate(engine)
    with engine.connect() as connection:
        context = alembic.migration.MigrationContext.configure(connection)
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def test_the_migration_can_be_undone(database: Database) -> None:
    """And leaves nothing behind; then it can be made again."""
    engine = open_engine(database, writer=True)
    migrate(engine)
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, "base")
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    migrate(engine)
    assert {"alembic_version", *tables.metadata.tables} == set(sa.inspect(engine).get_table_names())
    engine.dispose()


def test_a_database_of_the_newest_schema_is_left_to_itself(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one that is, the gateway knows without asking Alembic."""
    engine = open_engine(database, writer=True)
    migrate(engine)
    assert alembic.script.ScriptDirectory.from_config(_config()).get_current_head() == NEWEST
    monkeypatch.setattr(alembic.command, "upgrade", lambda *_: pytest.fail("there is nothing to migrate"))
    migrate(engine)
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


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(tables.__file__).parent / "migrations"))
    return config

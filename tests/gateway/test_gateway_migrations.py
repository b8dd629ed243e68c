"""The schema: made by its migrations, undone by them, and set up as a gateway needs it."""

from __future__ import annotations

from pathlib import Path

import alembic.command
import alembic.config
import alembic.migration
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata

from edgeagent.gateway.store import tables
from edgeagent.gateway.store.engine import Database, migrate, open_engine


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

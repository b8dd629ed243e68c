"""How the database is opened, and brought to the present schema: a SQLite file, or PostgreSQL."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa

from edgeagent.gateway.store import postgres, sqlite

#: Where the database is: a file of SQLite's, or the address of one in PostgreSQL.
Database = Path | sa.URL

_MIGRATIONS = Path(__file__).parent / "migrations"
#: The newest of them.
NEWEST = "0001"


def open_engine(database: Database, *, writer: bool, exclusive: bool = False, durable: bool = True) -> sa.Engine:
    """Return an engine on ``database``, for writing or for reading only.

    ``exclusive`` is for the one gateway that a PostgreSQL database may have; a SQLite file's is held by the lock of
    the directory that it lies in (``gateway.service``).
    """
    if isinstance(database, Path):
        return sqlite.open_engine(database, writer=writer, durable=durable)
    return postgres.open_engine(database, writer=writer, exclusive=exclusive, durable=durable)


def open_at_hand(database: Database) -> sa.Connection | None:
    """Return a connection that answers a look-up in less time than a thread takes to begin one, if there is any.

    It is SQLite's, for reading only; it does not wait for a lock, because nothing else could go on meanwhile.
    """
    return sqlite.open_engine(database, writer=False, busy_s=0).connect() if isinstance(database, Path) else None


def migrate(engine: sa.Engine) -> None:
    """Bring the database to the newest schema, in one transaction; an up-to-date one is left alone."""
    with engine.begin() as connection:
        if _revision(connection) != NEWEST:
            _upgrade(connection)


def _revision(connection: sa.Connection) -> str | None:
    """Ask the database itself: to import Alembic takes longer than everything else that opens a store."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: sa.Connection) -> None:
    # Alembic reports each of its parts at INFO, some already when it is imported.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))  # it is a ConfigParser
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")

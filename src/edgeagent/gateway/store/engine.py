"""How the database is opened, and brought to the present schema.

SQLite runs in WAL, so that readers and another process (``gateway token create``) work beside the writer.  Python's
``sqlite3`` would begin transactions by its own rules; here they begin where SQLAlchemy says, and the writer's take the
write lock at once (BEGIN IMMEDIATE): one that only read first could not be promoted while another process writes.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

#: Seconds to wait for another process's transaction.
BUSY_S = 10.0

_MIGRATIONS = Path(__file__).parent / "migrations"


def open_engine(database: Path, *, writer: bool) -> sa.Engine:
    """Return an engine on ``database``, for writing or for reading only.

    ``synchronous=FULL`` puts each commit on disk; it costs half a millisecond, which group commit shares out.
    """
    engine = sa.create_engine(
        f"sqlite:///{database}", connect_args={"timeout": BUSY_S, "check_same_thread": False}, pool_reset_on_return=None
    )
    pragmas = ["journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"] if writer else ["query_only=ON"]

    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def migrate(engine: sa.Engine) -> None:
    """Bring the database to the newest schema, in one transaction; an up-to-date one is left alone."""
    # Alembic reports each of its parts at INFO, some already when it is imported.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))  # it is a ConfigParser
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")

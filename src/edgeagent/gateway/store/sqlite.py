"""SQLite as the gateway's database: one file, and nothing to install.

It runs in WAL, so that readers and another process (``gateway token create``) work beside the writer.  Python's
``sqlite3`` would begin transactions by its own rules; here they begin where SQLAlchemy says, and the writer's take the
write lock at once (BEGIN IMMEDIATE): one that only read first could not be promoted while another process writes.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

#: Seconds to wait for another process's transaction.
BUSY_S = 10.0


def open_engine(database: Path, *, writer: bool, durable: bool = True, busy_s: float = BUSY_S) -> sa.Engine:
    """Return an engine on the file ``database``, for writing or for reading only.

    ``synchronous=FULL`` puts each commit on disk; it costs half a millisecond, which group commit shares out.  Without
    ``durable`` a power cut may take the last commits with it, and the file.  ``busy_s`` bounds its wait for a lock.
    """
    url = sa.URL.create("sqlite", database=str(database))
    connect_args = {"timeout": busy_s, "check_same_thread": False}
    engine = sa.create_engine(url, connect_args=connect_args, pool_reset_on_return=None)
    synchronous = f"synchronous={'FULL' if durable else 'OFF'}"
    pragmas = ["journal_mode=WAL", synchronous, "foreign_keys=ON"] if writer else ["query_only=ON"]

    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine

"""PostgreSQL (13 or newer) as the gateway's database, through psycopg.

Writing transactions take turns by an advisory lock, as BEGIN IMMEDIATE makes them do on SQLite: requests read before
they write, the ledger's chain is one queue anyway, and a commit is shared by all that wait for it.  The connection
that a gateway writes on also holds the lock that makes it the only gateway, so one that has lost that lock with its
connection cannot write a thing before it has it again.  Both locks belong to the session: a pooler in between must
keep sessions, not only transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from edgeagent.errors import EdgeAgentError

if TYPE_CHECKING:
    import psycopg

#: Seconds to wait for another process's transaction, as on SQLite.
BUSY_S = 10.0
#: Seconds to wait for another gateway to be over: one that was killed a moment ago.
HANDOVER_S = 3.0

IN_USE = "another gateway uses it; stop that one, or give this one another database"

#: Our advisory locks' first key: "edge" in ASCII, so that another program's in the same database are not ours.
_OURS = 0x65646765
_ONLY_GATEWAY, _TURN = 1, 2

_BEGIN = f"SELECT pg_advisory_xact_lock({_OURS}, {_TURN}), pg_current_xact_id()::text"
_STATUS = sa.text("SELECT pg_xact_status(CAST(CAST(:xid AS text) AS xid8))")

#: A peer that is gone without a word is noticed within about a minute (libpq's own words for its settings).
_CONNECT = {
    "application_name": "edgeagent",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def open_engine(url: sa.URL, *, writer: bool, exclusive: bool = False, durable: bool = True) -> sa.Engine:
    """Return an engine on the database at ``url``, for writing or for reading only.

    Args:
        exclusive: a connection is opened only while no other one is exclusive.
        durable: False lets a crash of the server take the last commits with it.

    Raises:
        EdgeAgentError: psycopg is not installed.
    """
    connect_args = {name: value for name, value in _CONNECT.items() if name not in url.query}
    # A second exclusive connection would wait for the first one.
    pool = {"pool_size": 1, "max_overflow": 0} if exclusive else {}
    try:
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), connect_args=connect_args, **pool)
    except ImportError:
        raise EdgeAgentError("PostgreSQL needs psycopg; run: pip install 'edgeagent[gateway,postgres]'") from None

    def prepare(connection: psycopg.Connection[Any], _: Any) -> None:
        try:
            _prepare(connection, writer=writer, exclusive=exclusive, durable=durable)
        except BaseException:
            connection.close()  # SQLAlchemy would leave it to the garbage collector
            raise

    event.listen(engine, "connect", prepare)
    if writer:
        event.listen(engine, "begin", _begin)
    return engine


def transaction_id(connection: sa.Connection) -> str:
    """Return the name of the writing transaction that ``connection`` is in."""
    return str(connection.info["transaction"])


def was_committed(connection: sa.Connection, transaction: str) -> bool:
    """Return what became of a transaction whose end was not heard; ours was over before we held the lock again."""
    return bool(connection.execute(_STATUS, {"xid": transaction}).scalar_one() == "committed")


def _prepare(connection: psycopg.Connection[Any], *, writer: bool, exclusive: bool, durable: bool) -> None:
    import psycopg

    def run(statement: str) -> psycopg.Cursor[Any]:
        return connection.execute(statement.encode())

    connection.autocommit = True
    if exclusive:
        run(f"SET lock_timeout = '{HANDOVER_S}s'")
        try:
            run(f"SELECT pg_advisory_lock({_OURS}, {_ONLY_GATEWAY})")
        except psycopg.errors.LockNotAvailable:
            raise psycopg.OperationalError(IN_USE) from None
    run(f"SET lock_timeout = '{BUSY_S}s'")
    if not durable:
        run("SET synchronous_commit = off")
    elif run("SHOW synchronous_commit").fetchone() == ("off",):
        run("SET synchronous_commit = on")  # what was said to be stored must be
    connection.autocommit = False
    if not writer:
        # One picture for all statements of a request, as a transaction on SQLite's WAL has it.
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ


def _begin(connection: sa.Connection) -> None:
    try:
        connection.info["transaction"] = connection.exec_driver_sql(_BEGIN).one()[1]
    except DBAPIError as error:
        if not error.connection_invalidated:
            connection.connection.rollback()  # the server has begun one, SQLAlchemy has not
        raise

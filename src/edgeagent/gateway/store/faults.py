"""Which faults are the database's, and which the request's own.

A request that breaks a constraint hears so itself; a database that is full, locked, gone or read-only says nothing
about the request, and everybody who waits for it is told to come back later.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError

from edgeagent.gateway.texts import one_line

#: psycopg says InternalError of a transaction that may not write or has failed before, InterfaceError of a connection
#: that is closed; everything else that is the server's trouble is OperationalError there, as all of SQLite's is.
DATABASE_FAULTS = (OperationalError, InternalError, InterfaceError)


class StoreUnavailableError(Exception):
    """The database cannot be used now (gone, disk full, locked, shut down); nothing of the request was stored."""


def unavailable(error: DBAPIError) -> StoreUnavailableError:
    """Return what to tell those whose requests were not stored."""
    return StoreUnavailableError(f"the database cannot be used now: {one_line(str(error.orig))}")

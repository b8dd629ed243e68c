"""How an owner says where the database is, and how we say it back: never with the password."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from edgeagent.errors import UsageError
from edgeagent.gateway.store.engine import Database

_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
_EXAMPLE = "postgresql://gateway@db.example.org/edgeagent"


def parse(text: str, where: str) -> sa.URL:
    """Return the address of a PostgreSQL database; ``where`` is what to call the place that ``text`` stood in.

    Raises:
        UsageError: it is none; the text never quotes it, because it may hold a password.
    """
    try:
        url = sa.make_url(text.strip())
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in _SCHEMES or not url.database:
        raise UsageError(f"{where} must be the address of a PostgreSQL database, like {_EXAMPLE}")
    return url.set(drivername="postgresql+psycopg")


def parse_open(text: str, where: str) -> sa.URL:
    """Return an address that stood where every user of the machine can read it.

    Raises:
        UsageError: it is none, or holds a password.
    """
    url = parse(text, where)
    if url.password is not None or "password" in url.query:
        raise UsageError(
            f"{where} holds a password, and every user of this machine can read a command line; put the address into "
            "EDGEAGENT_DATABASE or into a file named by --database-file, or the password into ~/.pgpass"
        )
    return url


def read(path: Path) -> sa.URL:
    """Return the address that a file holds.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    try:
        return parse(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text"
        raise UsageError(f"cannot read the database's address from {path}: {reason}") from None


def shown(database: Database) -> str:
    """Return where the database is, for a person."""
    if isinstance(database, Path):
        return str(database)
    hidden = database.difference_update_query(["password"]).set(drivername="postgresql")
    return hidden.render_as_string(hide_password=True)

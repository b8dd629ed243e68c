"""Submitters' accounts, for the owner at a terminal: works beside a running gateway or without one."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import auth
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.store import Tx, accounts
from edgeagent.gateway.store.address import shown
from edgeagent.gateway.store.base import wall_clock
from edgeagent.gateway.store.engine import migrate, open_engine
from edgeagent.gateway.texts import one_line


def create_token(data_dir: Path, name: str, grant_ucr: int, *, database: sa.URL | None = None) -> str:
    """Give the account ``name`` a new token and micro-credits, making it when there is none; return the token.

    Args:
        database: the gateway's PostgreSQL database; None where it has a file in ``data_dir``.

    Raises:
        UsageError: the name is empty, longer than 100 characters, or not printable; or the grant is negative.
        EdgeAgentError: the database cannot be written.
    """
    if not (0 < len(name) <= 100 and name.isprintable() and name.strip()):
        raise UsageError("an account's name has 1 to 100 printable characters")
    if grant_ucr < 0:
        raise UsageError("a grant cannot be negative")
    token = auth.new_account_token()
    try:
        if database is None:
            make_data_dir(data_dir)
        engine = open_engine(GatewaySettings(data_dir=data_dir, postgres=database).database, writer=True)
        try:
            migrate(engine)
            with engine.begin() as connection:
                accounts.add_token(Tx(connection, wall_clock()), name, auth.token_sha256(token), grant_ucr)
        finally:
            engine.dispose()
    except OSError as error:
        raise EdgeAgentError(f"cannot use {data_dir}: {error.strerror}") from None
    except DBAPIError as error:
        where = f"in {data_dir}" if database is None else shown(database)
        raise EdgeAgentError(f"cannot write the database {where}: {one_line(str(error.orig))}") from None
    return token


def make_data_dir(data_dir: Path) -> None:
    """Make the gateway's directory, for its owner alone: it holds the key and everyone's jobs."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise PermissionError(13, "not writable")

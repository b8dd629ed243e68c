"""Submitters' accounts, for the owner at a terminal: works beside a running gateway or without one."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from edgeagent.errors import UsageError
from edgeagent.gateway import auth
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import transaction
from edgeagent.gateway.store import accounts


def create_token(data_dir: Path, name: str, grant_ucr: int, *, database: sa.URL | None = None) -> str:
    """Give the account ``name`` a new token and micro-credits, making it when there is none; return the token.

    Args:
        database: the gateway's PostgreSQL database; None where it has a file in ``data_dir``.

    Raises:
        UsageError: the name is empty, longer than 100 characters, or not printable; or the grant is negative.
        EdgeAgentError: the database cannot be used.
    """
    if not (0 < len(name) <= 100 and name.isprintable() and name.strip()):
        raise UsageError("an account's name has 1 to 100 printable characters")
    if grant_ucr < 0:
        raise UsageError("a grant cannot be negative")
    token = auth.new_account_token()
    with transaction(GatewaySettings(data_dir=data_dir, postgres=database)) as tx:
        accounts.add_token(tx, name, auth.token_sha256(token), grant_ucr)
    return token

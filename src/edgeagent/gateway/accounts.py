"""Submitters' accounts, for the owner at a terminal: works beside a running gateway or without one."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import auth
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import owner, transaction
from edgeagent.gateway.scopes import USUAL_SCOPES, Scope
from edgeagent.gateway.store import accounts, audit
from edgeagent.gateway.store.accounts import Token
from edgeagent.gateway.store.audit import Entry


def create_token(
    data_dir: Path,
    name: str,
    grant_ucr: int,
    *,
    database: sa.URL | None = None,
    scopes: frozenset[Scope] = USUAL_SCOPES,
) -> str:
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
        accounts.add_token(tx, name, auth.token_sha256(token), grant_ucr, scopes, owner())
    return token


def list_tokens(place: GatewaySettings, account: str | None) -> list[Token]:
    """Return every token, or those of one account, oldest first."""
    with transaction(place) as tx:
        return accounts.all_tokens(tx, account)


def revoke_token(place: GatewaySettings, name: str) -> bool:
    """Make the token void that the list calls so; False where it was before.

    Raises:
        EdgeAgentError: there is none of that name.
    """
    with transaction(place) as tx:
        try:
            return accounts.revoke_token(tx, name, owner())
        except LookupError:
            raise EdgeAgentError(f"there is no token {name!r}; see: edgeagent gateway token list") from None


def read_audit(place: GatewaySettings, most: int) -> list[Entry]:
    """Return the last entries of the audit log, oldest first."""
    with transaction(place) as tx:
        return audit.latest(tx, most)

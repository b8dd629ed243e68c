"""Submitters' accounts and their tokens, of which only the SHA-256 is kept."""

from __future__ import annotations

import attrs
import sqlalchemy as sa

from edgeagent import chance
from edgeagent.gateway import ledger
from edgeagent.gateway.scopes import USUAL_SCOPES, Scope, parse, written
from edgeagent.gateway.store import audit
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.tables import account_tokens, accounts
from edgeagent.gateway.store.writer import Tx

_CALLER = (
    sa.select(accounts.c.account_id, accounts.c.name, account_tokens.c.scopes)
    .join_from(account_tokens, accounts)
    .where(account_tokens.c.token_sha256 == sa.bindparam("token"), account_tokens.c.revoked_at.is_(None))
)
#: Characters of a token's hash that stand for it in lists.
_NAME = 12


@attrs.frozen
class Caller:
    """Who a good token belongs to, and what it may be used for."""

    account_id: str
    name: str
    scopes: frozenset[Scope]


@attrs.frozen
class Token:
    """A token as the owner may see it; ``name`` is the start of its hash, the token itself is not kept."""

    name: str
    account: str
    scopes: frozenset[Scope]
    created_at: float
    revoked_at: float | None


@attrs.frozen
class Balance:
    """An account and its credits, in micro-credits: to spend, and set aside for its open jobs."""

    name: str
    balance_ucr: int
    held_ucr: int


def add_token(
    tx: Tx,
    name: str,
    token_sha256: str,
    grant_ucr: int,
    scopes: frozenset[Scope] = USUAL_SCOPES,
    actor: str = "owner",
) -> None:
    """Give the account of that name a token and credits; the account is made when there is none."""
    account_id = tx.connection.scalar(sa.select(accounts.c.account_id).where(accounts.c.name == name))
    if account_id is None:
        account_id = chance.new_id()
        tx.connection.execute(sa.insert(accounts).values(account_id=account_id, name=name, created_at=tx.now))
    tx.connection.execute(
        sa.insert(account_tokens).values(
            token_sha256=token_sha256, account_id=account_id, scopes=written(scopes), created_at=tx.now
        )
    )
    audit.record(tx, actor, "token.create", token_name(token_sha256), f"account {name}, scopes {written(scopes)}")
    if grant_ucr:
        books.post(tx, ledger.grant(account_id, grant_ucr))
        audit.record(tx, actor, "credits.grant", name, f"{grant_ucr} micro-credits")


def caller(tx: Tx, token_sha256: str) -> Caller | None:
    """Return who calls with this token; None if it is none, or was revoked."""
    row = tx.connection.execute(_CALLER, {"token": token_sha256}).one_or_none()
    return None if row is None else Caller(row.account_id, row.name, parse(row.scopes))


def of_token(tx: Tx, token_sha256: str) -> str | None:
    """Return the id of the account that a token belongs to."""
    found = caller(tx, token_sha256)
    return None if found is None else found.account_id


def token_name(token_sha256: str) -> str:
    """Return what a token is called where it must not be told: the start of its hash."""
    return token_sha256[:_NAME]


def all_tokens(tx: Tx, name: str | None = None) -> list[Token]:
    """Return every token, or those of the account of that name, oldest first; revoked ones too."""
    wanted = (
        sa.select(account_tokens, accounts.c.name).join_from(account_tokens, accounts).order_by(account_tokens.c.seq)
    )
    if name is not None:
        wanted = wanted.where(accounts.c.name == name)
    return [
        Token(token_name(row.token_sha256), row.name, parse(row.scopes), row.created_at, row.revoked_at)
        for row in tx.connection.execute(wanted)
    ]


def revoke_token(tx: Tx, name: str, actor: str) -> bool:
    """Make the token of this name void from now on; False where it was before.

    Raises:
        LookupError: there is none of that name.
    """
    called = sa.func.substr(account_tokens.c.token_sha256, 1, _NAME) == name
    if tx.connection.scalar(sa.select(sa.func.count()).select_from(account_tokens).where(called)) == 0:
        raise LookupError(name)
    good = sa.update(account_tokens).where(called, account_tokens.c.revoked_at.is_(None))
    revoked = tx.connection.execute(good.values(revoked_at=tx.now)).rowcount > 0
    if revoked:
        audit.record(tx, actor, "token.revoke", name)
    return revoked


def ids(tx: Tx) -> dict[str, str]:
    """Return the ids of all accounts, by name."""
    return {row.name: row.account_id for row in tx.connection.execute(sa.select(accounts))}


def balance(tx: Tx, account_id: str) -> Balance:
    """Return an account's name and credits."""
    name = tx.connection.execute(sa.select(accounts.c.name).where(accounts.c.account_id == account_id)).scalar_one()
    free, held = ledger.submitter_account(account_id), ledger.held_account(account_id)
    there = books.balances(tx, [free, held])
    return Balance(name, there.get(free, 0), there.get(held, 0))

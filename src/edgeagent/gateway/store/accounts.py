"""Submitters' accounts and their tokens, of which only the SHA-256 is kept."""

from __future__ import annotations

import attrs
import sqlalchemy as sa

from edgeagent import chance
from edgeagent.gateway import ledger
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.tables import account_tokens, accounts
from edgeagent.gateway.store.writer import Tx

_OF_TOKEN = sa.select(account_tokens.c.account_id).where(account_tokens.c.token_sha256 == sa.bindparam("token"))


@attrs.frozen
class Balance:
    """An account and its credits, in micro-credits: to spend, and set aside for its open jobs."""

    name: str
    balance_ucr: int
    held_ucr: int


def add_token(tx: Tx, name: str, token_sha256: str, grant_ucr: int) -> None:
    """Give the account of that name a token and credits; the account is made when there is none."""
    account_id = tx.connection.scalar(sa.select(accounts.c.account_id).where(accounts.c.name == name))
    if account_id is None:
        account_id = chance.new_id()
        tx.connection.execute(sa.insert(accounts).values(account_id=account_id, name=name, created_at=tx.now))
    tx.connection.execute(
        sa.insert(account_tokens).values(token_sha256=token_sha256, account_id=account_id, created_at=tx.now)
    )
    if grant_ucr:
        books.post(tx, ledger.grant(account_id, grant_ucr))


def of_token(tx: Tx, token_sha256: str) -> str | None:
    """Return the id of the account that a token belongs to."""
    return tx.connection.scalar(_OF_TOKEN, {"token": token_sha256})


def balance(tx: Tx, account_id: str) -> Balance:
    """Return an account's name and credits."""
    name = tx.connection.execute(sa.select(accounts.c.name).where(accounts.c.account_id == account_id)).scalar_one()
    free, held = ledger.submitter_account(account_id), ledger.held_account(account_id)
    there = books.balances(tx, [free, held])
    return Balance(name, there.get(free, 0), there.get(held, 0))

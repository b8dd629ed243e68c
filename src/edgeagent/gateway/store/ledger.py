"""The books on disk: post an entry, read balances, check the chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
import sqlalchemy as sa

from edgeagent.gateway import ledger
from edgeagent.gateway.ledger import Entry, Posting
from edgeagent.gateway.store.base import Tx
from edgeagent.gateway.store.tables import ledger_accounts, ledger_entries, ledger_postings


def post(tx: Tx, entry: Entry) -> None:
    """Append an entry to the chain and move the balances.

    Raises:
        CreditsShortError: an account would go below zero; nothing was written.
    """
    names = [posting.account for posting in entry.postings]
    before = balances(tx, names)
    after = ledger.apply(before, entry)
    if missing := [name for name in names if name not in before]:
        tx.connection.execute(
            sa.insert(ledger_accounts), [{"account": name, "balance_ucr": after[name]} for name in missing]
        )
    for name in before:
        tx.connection.execute(
            sa.update(ledger_accounts).where(ledger_accounts.c.account == name).values(balance_ucr=after[name])
        )
    seq, previous = _tip(tx)
    tx.connection.execute(
        sa.insert(ledger_entries).values(
            seq=seq + 1,
            kind=entry.kind.value,
            job_id=entry.job_id,
            at=tx.now,
            hash=ledger.chain_hash(previous, entry, tx.now),
        )
    )
    tx.connection.execute(
        sa.insert(ledger_postings),
        [{"entry_seq": seq + 1, "account": p.account, "amount_ucr": p.amount_ucr} for p in entry.postings],
    )


def balances(tx: Tx, names: Iterable[str]) -> dict[str, int]:
    """Return the balances, in micro-credits, of those of the named accounts that exist."""
    table = ledger_accounts.c
    rows = tx.connection.execute(sa.select(table.account, table.balance_ucr).where(table.account.in_(list(names))))
    return {row.account: row.balance_ucr for row in rows}


@attrs.frozen
class Recorded:
    """An entry as it is on disk."""

    seq: int
    entry: Entry
    at: float
    hash: str


def entries(tx: Tx) -> Iterator[Recorded]:
    """Return every entry, oldest first."""
    postings: dict[int, list[Posting]] = {}
    for row in tx.connection.execute(sa.select(ledger_postings)):
        postings.setdefault(row.entry_seq, []).append(Posting(row.account, row.amount_ucr))
    for row in tx.connection.execute(sa.select(ledger_entries).order_by(ledger_entries.c.seq)):
        entry = Entry(ledger.Kind(row.kind), row.job_id, tuple(sorted(postings[row.seq], key=lambda p: p.amount_ucr)))
        yield Recorded(row.seq, entry, row.at, row.hash)


def _tip(tx: Tx) -> tuple[int, str]:
    table = ledger_entries.c
    row = tx.connection.execute(sa.select(table.seq, table.hash).order_by(table.seq.desc()).limit(1)).first()
    return (row.seq, row.hash) if row is not None else (0, ledger.FIRST_HASH)

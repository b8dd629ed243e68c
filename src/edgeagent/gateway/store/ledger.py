"""The books on disk: post an entry, read balances, check the chain."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Sequence

import attrs
import sqlalchemy as sa

from edgeagent.gateway import ledger
from edgeagent.gateway.ledger import Entry, Posting
from edgeagent.gateway.store.tables import ledger_accounts, ledger_entries, ledger_postings
from edgeagent.gateway.store.writer import Tx

_BALANCES = sa.select(ledger_accounts.c.account, ledger_accounts.c.balance_ucr).where(
    ledger_accounts.c.account.in_(sa.bindparam("names", expanding=True))
)
_SET_BALANCE = sa.update(ledger_accounts).where(ledger_accounts.c.account == sa.bindparam("name"))
_TIP = sa.select(ledger_entries.c.seq, ledger_entries.c.hash).order_by(ledger_entries.c.seq.desc()).limit(1)
_ADD_ACCOUNT, _ADD_ENTRY, _ADD_POSTING = (
    sa.insert(table) for table in (ledger_accounts, ledger_entries, ledger_postings)
)


def post(tx: Tx, entry: Entry) -> None:
    """Append an entry to the chain and move the balances.

    Raises:
        CreditsShortError: an account would go below zero; nothing was written.
    """
    post_all(tx, [entry])


def post_all(tx: Tx, batch: Sequence[Entry]) -> None:
    """Append entries to the chain, in this order, and move the balances.

    Raises:
        CreditsShortError: an account would go below zero at one of them; nothing was written.
    """
    if not batch:
        return
    before = balances(tx, {posting.account for entry in batch for posting in entry.postings})
    after: dict[str, int] = {}
    for entry in batch:
        after |= ledger.apply(ChainMap(after, before), entry)
    if added := [{"account": name, "balance_ucr": ucr} for name, ucr in after.items() if name not in before]:
        tx.connection.execute(_ADD_ACCOUNT, added)
    if before:
        tx.connection.execute(_SET_BALANCE, [{"name": name, "balance_ucr": after[name]} for name in before])
    seq, previous = _tip(tx)
    entries, postings = [], []
    for entry in batch:
        seq, previous = seq + 1, ledger.chain_hash(previous, entry, tx.now)
        made = {"kind": entry.kind.value, "job_id": entry.job_id, "at": tx.now}
        entries.append({"seq": seq, "hash": previous, **made})
        postings += [{"entry_seq": seq, "account": one.account, "amount_ucr": one.amount_ucr} for one in entry.postings]
    tx.connection.execute(_ADD_ENTRY, entries)
    tx.connection.execute(_ADD_POSTING, postings)


def balances(tx: Tx, names: Iterable[str]) -> dict[str, int]:
    """Return the balances, in micro-credits, of those of the named accounts that exist."""
    return {row.account: row.balance_ucr for row in tx.connection.execute(_BALANCES, {"names": list(names)})}


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
        entry = Entry(ledger.Kind(row.kind), row.job_id, tuple(postings[row.seq]))
        yield Recorded(row.seq, entry, row.at, row.hash)


def _tip(tx: Tx) -> tuple[int, str]:
    row = tx.connection.execute(_TIP).first()
    return (row.seq, row.hash) if row is not None else (0, ledger.FIRST_HASH)

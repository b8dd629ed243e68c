"""The books on disk: post an entry, read balances, check the chain."""

from __future__ import annotations

import itertools
from collections import ChainMap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import sqlalchemy as sa

from edgeagent.gateway import ledger
from edgeagent.gateway.ledger import Entry, Posting
from edgeagent.gateway.store.prepared import Among, Many
from edgeagent.gateway.store.tables import OF_NODES, ledger_accounts, ledger_entries, ledger_postings
from edgeagent.gateway.store.writer import Tx

#: Rows that are fetched at a time.
_AT_ONCE = 5000

_BALANCES = Among(
    sa.select(ledger_accounts.c.account, ledger_accounts.c.balance_ucr).where(
        ledger_accounts.c.account.in_(sa.bindparam("names", expanding=True))
    ),
    "names",
)
_SET_BALANCE = Many(sa.update(ledger_accounts).where(ledger_accounts.c.account == sa.bindparam("name")))
_TIP = sa.select(ledger_entries.c.seq, ledger_entries.c.hash).order_by(ledger_entries.c.seq.desc()).limit(1)
_SAME = sa.select(ledger_entries.c.seq).where(
    ledger_entries.c.kind == sa.bindparam("kind"),
    ledger_entries.c.reference == sa.bindparam("reference"),
    ledger_entries.c.reference != "",
)
_POSTINGS = sa.select(ledger_postings).where(ledger_postings.c.entry_seq == sa.bindparam("seq"))
_ENTRIES = (
    sa.select(ledger_entries, ledger_postings.c.account, ledger_postings.c.amount_ucr)
    .join_from(ledger_entries, ledger_postings, isouter=True)
    .order_by(ledger_entries.c.seq, ledger_postings.c.account)
)
_NEWEST = sa.select(ledger_entries.c.seq).order_by(ledger_entries.c.seq.desc()).limit(sa.bindparam("most"))
_OF_ACCOUNT = (
    sa.select(ledger_entries, ledger_postings.c.amount_ucr)
    .join_from(ledger_postings, ledger_entries)
    .where(
        # The index is of nodes' accounts alone; a database uses it only where it sees its condition.
        ledger_postings.c.account == sa.bindparam("account"),
        sa.text(OF_NODES),
        ledger_entries.c.kind.in_(sa.bindparam("kinds", expanding=True)),
        ledger_entries.c.at >= sa.bindparam("start", type_=sa.Double()),
        ledger_entries.c.at < sa.bindparam("end", type_=sa.Double()),
    )
    .order_by(ledger_entries.c.seq)
)
_ADD_ACCOUNT, _ADD_ENTRY, _ADD_POSTING = (
    Many(sa.insert(table)) for table in (ledger_accounts, ledger_entries, ledger_postings)
)


class ReferenceUsedError(Exception):
    """A reference stands for another entry already."""


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
        _ADD_ACCOUNT.run(tx, added)
    if before:
        _SET_BALANCE.run(tx, [{"name": name, "balance_ucr": after[name]} for name in before])
    seq, previous = _tip(tx)
    entries, postings = [], []
    for entry in batch:
        seq, previous = seq + 1, ledger.chain_hash(previous, entry, tx.now)
        made = {"kind": entry.kind.value, "reference": entry.reference, "memo": entry.memo, "at": tx.now}
        entries.append({"seq": seq, "hash": previous, **made})
        postings += [{"entry_seq": seq, "account": one.account, "amount_ucr": one.amount_ucr} for one in entry.postings]
    _ADD_ENTRY.run(tx, entries)
    _ADD_POSTING.run(tx, postings)


def post_once(tx: Tx, entry: Entry) -> bool:
    """Append an entry unless the books have it already; return whether it is new.

    Raises:
        ReferenceUsedError: there is an entry of this kind with this reference, and it says something else.
        CreditsShortError: an account would go below zero; nothing was written.
    """
    row = tx.connection.execute(_SAME, {"kind": entry.kind.value, "reference": entry.reference}).first()
    if row is None:
        post(tx, entry)
        return True
    there = {one.account: one.amount_ucr for one in tx.connection.execute(_POSTINGS, {"seq": row.seq})}
    if there != {one.account: one.amount_ucr for one in entry.postings}:
        raise ReferenceUsedError(f"{entry.reference!r} is the reference of another {entry.kind}: entry {row.seq}")
    return False


def of_account(
    tx: Tx, account: str, kinds: Sequence[str], start: float, end: float
) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    """Return a node's account's entries of these kinds, from ``start`` until before ``end``, with what each posted."""
    return tx.connection.execute(
        _OF_ACCOUNT, {"account": account, "kinds": list(kinds), "start": start, "end": end}
    ).all()


def balances(tx: Tx, names: Iterable[str]) -> dict[str, int]:
    """Return the balances, in micro-credits, of those of the named accounts that exist."""
    return {row.account: row.balance_ucr for row in _BALANCES.rows(tx, list(names))}


def all_balances(tx: Tx) -> dict[str, int]:
    """Return the balance, in micro-credits, of every account in the books."""
    return {row.account: row.balance_ucr for row in tx.connection.execute(sa.select(ledger_accounts))}


@attrs.frozen
class Recorded:
    """An entry as it is on disk; ``kind`` and ``postings`` may be anything there, see ``entry``."""

    seq: int
    kind: str
    reference: str
    memo: str
    postings: tuple[Posting, ...]
    at: float
    hash: str

    @property
    def entry(self) -> Entry:
        """The entry.

        Raises:
            ValueError: somebody made one that is none: of no known kind, or not balanced.
        """
        return Entry(ledger.Kind(self.kind), self.reference, self.postings, self.memo)


def entries(tx: Tx) -> Iterator[Recorded]:
    """Return every entry, oldest first, without having all of them in memory."""
    yield from _recorded(tx.connection.execute(_ENTRIES, execution_options={"yield_per": _AT_ONCE}))


def newest(tx: Tx, most: int) -> list[Recorded]:
    """Return the last ``most`` entries, oldest first."""
    seqs = tx.connection.scalars(_NEWEST, {"most": most}).all()
    return list(_recorded(tx.connection.execute(_ENTRIES.where(ledger_entries.c.seq >= seqs[-1])))) if seqs else []


def _recorded(rows: Iterable[Any]) -> Iterator[Recorded]:
    for _, lines in itertools.groupby(rows, key=lambda row: row.seq):
        first, *others = lines
        # An outer join: an entry that has lost its postings has one row without any.
        postings = tuple(Posting(row.account, row.amount_ucr) for row in (first, *others) if row.account is not None)
        yield Recorded(first.seq, first.kind, first.reference, first.memo, postings, first.at, first.hash)


def _tip(tx: Tx) -> tuple[int, str]:
    row = tx.connection.execute(_TIP).first()
    return (row.seq, row.hash) if row is not None else (0, ledger.FIRST_HASH)

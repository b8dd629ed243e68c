"""Do the payouts say what the books say?

Part of ``store.verification``: there is an entry for each row that was paid, and no other.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from edgeagent.gateway.ledger import Kind
from edgeagent.gateway.payouts import WAITING, State
from edgeagent.gateway.store.payout_tables import payouts
from edgeagent.gateway.store.tables import ledger_entries, ledger_postings
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.store.wrong import Wrong

_POSTED = payouts.c.state.not_in(sorted(WAITING))
_FAILED = payouts.c.state == State.FAILED.value


def faults(tx: Tx) -> Iterator[Wrong]:
    """Yield what is wrong with rows, and entries that no row is for."""
    for kind, wanted, sign in ((Kind.PAYOUT, _POSTED, -1), (Kind.RETURN, _FAILED, 1)):
        yield from _rows(tx, kind, wanted, sign)
        entries = tx.connection.scalar(
            sa.select(sa.func.count()).select_from(ledger_entries).where(ledger_entries.c.kind == kind.value)
        )
        rows = tx.connection.scalar(sa.select(sa.func.count()).select_from(payouts).where(wanted))
        if entries != rows:
            yield Wrong(f"there are {entries} entries of kind {kind} in the books, and {rows} payouts that have one")


def _rows(tx: Tx, kind: Kind, wanted: sa.ColumnElement[bool], sign: int) -> Iterator[Wrong]:
    entry, posting = ledger_entries.alias("entry"), ledger_postings.alias("posting")
    # The empty reference is spelled out so that the databases see that their partial index fits.
    same = (
        (entry.c.kind == kind.value)
        & (entry.c.reference == payouts.c.month.concat(" ").concat(payouts.c.node_id))
        & (entry.c.reference != "")
    )
    own = (posting.c.entry_seq == entry.c.seq) & (posting.c.account == sa.literal("node:").concat(payouts.c.node_id))
    differs = sa.or_(posting.c.amount_ucr.is_(None), posting.c.amount_ucr != sign * payouts.c.amount_ucr)
    found = (
        sa.select(payouts, posting.c.amount_ucr.label("posted_ucr"))
        .select_from(payouts.outerjoin(entry, same).outerjoin(posting, own))
        .where(wanted, differs)
        .order_by(payouts.c.month, payouts.c.node_id)
    )
    for row in tx.connection.execute(found):
        yield Wrong(
            f"the payout of {row.month} to node {row.node_id} is {row.state}, of {row.amount_ucr} micro-credits; "
            f"its entry of kind {kind} posts {'nothing' if row.posted_ucr is None else row.posted_ucr}"
        )

"""What is published about a month: its statement, and proofs that its tree holds a receipt and was only added to.

A statement is made and signed when somebody asks.  Only its content has to last, and that follows from the stored tree:
so after a stolen key was replaced the present key stands for every month, and what the stolen one signs proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from edgeagent.gateway.ledger import Kind, node_account
from edgeagent.gateway.store import Tx, ledger, settlements
from edgeagent.gateway.store.settlements import Month
from edgeagent.wire import merkle
from edgeagent.wire.identity import Signer
from edgeagent.wire.receipts import Statement, month_bounds

#: Most receipts that one question is about: an answer of some 200 KiB in a month of a million.
MAX_TOGETHER = 100
#: Entries that change what a node has earned and are no settlements.
CORRECTIONS = (Kind.REFUND, Kind.ADJUSTMENT)


@attrs.frozen
class Signed:
    """A statement with its signature, in hex, by the key with this ``kid``."""

    statement: Statement
    signature: str
    key_id: str


@attrs.frozen(kw_only=True)
class Correction:
    """An entry in the books by which a node earned more or less than it was settled for."""

    entry: int
    kind: str
    reference: str  # a refund's is the job
    amount_ucr: int
    at: float
    memo: str


def statement(tx: Tx, month: str, signer: Signer) -> Signed | None:
    """Return the statement of a month as it is now, signed; None where nothing was settled in it."""
    found = settlements.month(tx, month)
    return None if found is None else _signed(tx, found, signer)


def statements(tx: Tx, signer: Signer) -> list[Signed]:
    """Return the statements of all months in which something was settled, oldest first."""
    return [_signed(tx, one, signer) for one in settlements.all_months(tx)]


def inclusion(tx: Tx, month: str, indices: Sequence[int], size: int) -> list[list[bytes]]:
    """Return the proofs that these leaves are in the month's tree of the first ``size``, each as RFC 9162 has it.

    Raises:
        ValueError: the month's tree has not, or had never, that size, or such a leaf; says which.
    """
    _grown_to(tx, month, size)
    read = settlements.hashes(tx, month)
    return [merkle.inclusion(read, index, size) for index in indices]


def consistency(tx: Tx, month: str, first: int, second: int) -> list[bytes]:
    """Return the proof that the month's tree of ``second`` leaves begins with that of ``first``.

    Raises:
        ValueError: the month's tree had never one of these sizes; says which.
    """
    _grown_to(tx, month, second)
    return merkle.consistency(settlements.hashes(tx, month), first, second)


def corrections(tx: Tx, node_id: str, month: str) -> list[Correction]:
    """Return what changed a node's earnings in a month beside its settlements, oldest first."""
    start, end = month_bounds(month)
    kinds = [kind.value for kind in CORRECTIONS]
    rows = ledger.of_account(tx, node_account(node_id), kinds, start, end)
    return [
        Correction(
            entry=row.seq, kind=row.kind, reference=row.reference, amount_ucr=row.amount_ucr, at=row.at, memo=row.memo
        )
        for row in rows
    ]


def _signed(tx: Tx, month: Month, signer: Signer) -> Signed:
    made = Statement(
        month=month.month,
        size=month.leaves,
        root=merkle.root(settlements.hashes(tx, month.month), month.leaves).hex(),
        credited_ucr=month.credited_ucr,
        issued_at=max(0, int(tx.now)) if month.closed_at is None else month.closed_at,
        closed=month.closed_at is not None,
    )
    return Signed(made, signer.sign(made.document()), signer.key_id)


def _grown_to(tx: Tx, month: str, size: int) -> None:
    found = settlements.month(tx, month)
    leaves = 0 if found is None else found.leaves
    if not 1 <= size <= leaves:
        raise ValueError(f"the tree of {month} has {leaves} leaves, not {size}")

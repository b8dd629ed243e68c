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

#: Most receipts that one question is about: an address of 3.5 KiB, an answer of 80 KiB in a month of a million.
MAX_TOGETHER = 50
#: Entries that change what a node has earned and are no settlements.
CORRECTIONS = (Kind.REFUND, Kind.ADJUSTMENT)


@attrs.frozen
class Signed:
    """A statement with its signature, in hex, by the key with this ``kid``."""

    statement: Statement
    signature: str
    key_id: str


@attrs.frozen
class Proof:
    """Where a leaf stands in a month's tree, and the proof of that as RFC 9162 has it."""

    index: int
    hashes: list[bytes]


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


def inclusion(tx: Tx, month: str, leaves: Sequence[bytes], size: int) -> dict[bytes, Proof]:
    """Return the proofs that leaves with these hashes are in the month's tree of the first ``size``, of those that are.

    Who asks knows the receipt, and need not believe where it is said to stand: so it is looked up by its hash, as in
    Certificate Transparency.

    Raises:
        ValueError: the month's tree has not, or had never, that size.
    """
    _grown_to(tx, month, size)
    read, places = settlements.hashes(tx, month), settlements.places(tx, month, leaves)
    return {leaf: Proof(index, merkle.inclusion(read, index, size)) for leaf, index in places.items() if index < size}


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

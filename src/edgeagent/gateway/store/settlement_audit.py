"""Do the months' trees hold?  Every credited attempt has one leaf, each leaf says what was paid, and the trees add up.

Part of ``store.verification``: what the receipt should say is made anew from the job, the attempt and its files, and
the node's signature is checked with the keys that it ever had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from edgeagent.gateway.jobs import AttemptState
from edgeagent.gateway.store import settlements as trees
from edgeagent.gateway.store.settlements import Month
from edgeagent.gateway.store.tables import attempts, jobs, node_keys, outputs, settlements
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.store.wrong import Wrong
from edgeagent.wire import identity, merkle, receipts
from edgeagent.wire.messages import JobResult, Outcome, Output, Usage

#: Leaves that are looked at together.
_PORTION = 500

_LEAVES = (
    sa.select(
        settlements,
        attempts.c.job_id,
        attempts.c.node_id,
        attempts.c.state,
        attempts.c.usage,
        attempts.c.receipt_sha256,
        attempts.c.signature,
        jobs.c.job_type,
        jobs.c.price_ucr,
    )
    .join_from(settlements, attempts, settlements.c.attempt_id == attempts.c.attempt_id)
    .join(jobs, jobs.c.job_id == attempts.c.job_id)
    .where(
        settlements.c.month == sa.bindparam("name"),
        settlements.c.place >= sa.bindparam("first"),
        settlements.c.place < sa.bindparam("after"),
    )
    .order_by(settlements.c.place)
)
_FILES = sa.select(outputs).where(
    outputs.c.attempt_id.in_(sa.bindparam("ids", expanding=True)), outputs.c.listed.is_(sa.true())
)
_KEYS = sa.select(node_keys.c.public_key).where(node_keys.c.node_id == sa.bindparam("node"))
_WITHOUT = (
    sa.select(attempts.c.attempt_id)
    .join_from(attempts, jobs)
    .join(settlements, settlements.c.attempt_id == attempts.c.attempt_id, isouter=True)
    .where(attempts.c.state == AttemptState.COMPLETED.value, jobs.c.price_ucr > 0, settlements.c.attempt_id.is_(None))
    .order_by(attempts.c.seq)
)


def faults(tx: Tx) -> Iterator[Wrong]:
    """Yield what does not hold."""
    for attempt_id in tx.connection.scalars(_WITHOUT):
        yield Wrong(f"attempt {attempt_id} was credited and has no settlement")
    for month in trees.all_months(tx):
        yield from _month(tx, month)


def _month(tx: Tx, month: Month) -> Iterator[Wrong]:
    tree, credited_ucr = merkle.Frontier(), 0
    for first in range(0, month.leaves, _PORTION):
        window = {"name": month.month, "first": first, "after": min(first + _PORTION, month.leaves)}
        rows = tx.connection.execute(_LEAVES, window).all()
        files = _files(tx, [row.attempt_id for row in rows])
        for row in rows:
            if why := _leaf(tx, row, files.get(row.attempt_id, ())):
                yield Wrong(f"settlement {row.place} of {month.month}, of attempt {row.attempt_id}: {why}")
            tree.add(bytes(row.leaf))
            credited_ucr += row.credited_ucr
    if (tree.size, credited_ucr) != (month.leaves, month.credited_ucr):
        said = f"{month.leaves} settlements and {month.credited_ucr} micro-credits"
        yield Wrong(f"{month.month} says that it has {said}, not {tree.size} and {credited_ucr}")
        return
    try:
        stored = merkle.root(trees.hashes(tx, month.month), month.leaves)
    except LookupError as error:
        yield Wrong(str(error.args[0]))
        return
    if stored != tree.root:
        yield Wrong(f"the stored tree of {month.month} is not that of its settlements")


def _leaf(tx: Tx, row: Any, files: Sequence[Output]) -> str | None:
    """Return the first thing that is wrong with a leaf."""
    if row.state != AttemptState.COMPLETED.value or row.credited_ucr != row.price_ucr:
        return f"it pays {row.credited_ucr} micro-credits; the attempt is {row.state}, its price {row.price_ucr}"
    usage = Usage(**orjson.loads(row.usage))
    result = JobResult(
        job_id=row.job_id, attempt_id=row.attempt_id, outcome=Outcome.COMPLETED, outputs=tuple(files), usage=usage
    )
    receipt = receipts.receipt(row.node_id, row.job_type, row.price_ucr, result)
    if bytes(row.receipt_sha256 or b"").hex() != receipt.sha256:
        return "its receipt is not that of the attempt"
    signature = bytes(row.signature or b"").hex()
    keys = tx.connection.scalars(_KEYS, {"node": row.node_id}).all() if signature else []
    if signature and not any(identity.verify(key, receipt.document(), signature) for key in keys):
        return "the node's signature is wrong"
    made = receipts.Settlement(
        receipt_sha256=receipt.sha256,
        node_signature=signature,
        credited_ucr=row.credited_ucr,
        month=row.month,
        index=row.place,
        settled_at=row.settled_at,
    )
    return None if bytes(row.leaf) == made.leaf else "its leaf is not the hash of what it says"


def _files(tx: Tx, attempt_ids: Sequence[str]) -> Mapping[str, list[Output]]:
    found: dict[str, list[Output]] = {}
    for row in tx.connection.execute(_FILES, {"ids": list(attempt_ids)}) if attempt_ids else ():
        found.setdefault(row.attempt_id, []).append(Output(name=row.name, size_bytes=row.size_bytes, sha256=row.sha256))
    return found

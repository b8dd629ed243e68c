"""What was paid for each credited attempt, on disk: the leaves of the months' trees.

A settlement is written in the transaction that pays, so there is no moment at which an attempt is paid and has no leaf,
or has two.  Of the tree above the leaves only every eighth level is stored, which is one more row for each 256; what
lies between is computed from at most 128 stored hashes.  A settlement goes into the month of the gateway's wall clock,
and where that month is closed already, because the clock was set back, into the next one that is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import sqlalchemy as sa

from edgeagent.gateway.store.prepared import Among, Many
from edgeagent.gateway.store.tables import attempts, month_hashes, months, settlements
from edgeagent.gateway.store.writer import Tx
from edgeagent.wire import merkle
from edgeagent.wire.receipts import Settlement, month_bounds, month_of

#: Levels of a tree from one that is stored to the next, and leaves of a subtree that high.
STEP = 8
_SPAN = 1 << STEP

_MONTH = sa.select(months).where(months.c.month == sa.bindparam("name"))
_GROW = sa.update(months).where(months.c.month == sa.bindparam("name"))
_ADD_MONTH = sa.insert(months)
_ADD, _ADD_HASHES = Many(sa.insert(settlements)), Many(sa.insert(month_hashes))
_LEAVES = sa.select(settlements.c.leaf.label("hash")).where(
    settlements.c.month == sa.bindparam("name"),
    settlements.c.place >= sa.bindparam("first"),
    settlements.c.place < sa.bindparam("after"),
)
_HASHES = sa.select(month_hashes.c.hash).where(
    month_hashes.c.month == sa.bindparam("name"),
    month_hashes.c.level == sa.bindparam("height"),
    month_hashes.c.place >= sa.bindparam("first"),
    month_hashes.c.place < sa.bindparam("after"),
)
_PLACES = sa.select(settlements.c.leaf, settlements.c.place).where(
    settlements.c.month == sa.bindparam("name"), settlements.c.leaf.in_(sa.bindparam("hashes", expanding=True))
)
_SIGNED = Among(
    sa.select(attempts.c.attempt_id, attempts.c.receipt_sha256, attempts.c.signature).where(
        attempts.c.attempt_id.in_(sa.bindparam("ids", expanding=True))
    ),
    "ids",
)
_OF = Among(
    sa.select(
        settlements.c.attempt_id,
        settlements.c.month,
        settlements.c.place,
        settlements.c.credited_ucr,
        settlements.c.settled_at,
        attempts.c.receipt_sha256,
        attempts.c.signature,
    )
    .join_from(settlements, attempts)
    .where(settlements.c.attempt_id.in_(sa.bindparam("ids", expanding=True))),
    "ids",
)


@attrs.frozen
class Due:
    """An attempt that is being credited; its receipt and the node's signature of that are in its row."""

    attempt_id: str
    credited_ucr: int


@attrs.frozen
class Month:
    """A month's tree so far; ``closed_at``, in seconds since the epoch, where it grows no more."""

    month: str
    leaves: int
    credited_ucr: int
    closed_at: int | None


def append(tx: Tx, due: Sequence[Due]) -> dict[str, Settlement]:
    """Settle attempts, in this order; return how, by attempt."""
    if not due:
        return {}
    into = _open_month(tx)
    signed = {row.attempt_id: row for row in _SIGNED.rows(tx, [one.attempt_id for one in due])}
    made = {
        one.attempt_id: Settlement(
            receipt_sha256=_hex(signed[one.attempt_id].receipt_sha256),
            node_signature=_hex(signed[one.attempt_id].signature),
            credited_ucr=one.credited_ucr,
            month=into.month,
            index=index,
            settled_at=max(0, int(tx.now)),
        )
        for index, one in enumerate(due, into.leaves)
    }
    _ADD.run(
        tx,
        [
            {
                "month": one.month,
                "place": one.index,
                "attempt_id": attempt_id,
                "credited_ucr": one.credited_ucr,
                "settled_at": one.settled_at,
                "leaf": one.leaf,
            }
            for attempt_id, one in made.items()
        ],
    )
    grown = {
        "leaves": into.leaves + len(due),
        "credited_ucr": into.credited_ucr + sum(one.credited_ucr for one in due),
    }
    tx.connection.execute(_GROW, {"name": into.month, **grown})
    _complete(tx, into.month, into.leaves, grown["leaves"])
    return made


def of_attempts(tx: Tx, attempt_ids: Sequence[str]) -> dict[str, Settlement]:
    """Return how those of these attempts were settled that were credited."""
    return {
        row.attempt_id: Settlement(
            receipt_sha256=_hex(row.receipt_sha256),
            node_signature=_hex(row.signature),
            credited_ucr=row.credited_ucr,
            month=row.month,
            index=row.place,
            settled_at=row.settled_at,
        )
        for row in _OF.rows(tx, attempt_ids)
    }


def places(tx: Tx, name: str, hashes: Sequence[bytes]) -> dict[bytes, int]:
    """Return where those of these leaf hashes stand in a month that are in it."""
    rows = tx.connection.execute(_PLACES, {"name": name, "hashes": list(hashes)})
    return {bytes(row.leaf): row.place for row in rows}


def month(tx: Tx, name: str) -> Month | None:
    """Return a month's tree; None where nothing was settled in it."""
    row = tx.connection.execute(_MONTH, {"name": name}).one_or_none()
    return None if row is None else Month(**row._mapping)


def all_months(tx: Tx) -> list[Month]:
    """Return the months in which something was settled, oldest first."""
    return [Month(**row._mapping) for row in tx.connection.execute(sa.select(months).order_by(months.c.month))]


def close(tx: Tx) -> list[str]:
    """Close the months that are over, for good; return those that were not closed yet."""
    over = [one.month for one in all_months(tx) if one.closed_at is None and month_bounds(one.month)[1] <= tx.now]
    for name in over:
        tx.connection.execute(_GROW, {"name": name, "closed_at": int(tx.now)})
    return over


def hashes(tx: Tx, name: str) -> merkle.Read:
    """Return how to read the complete subtrees of a month's tree; each is looked up once."""
    seen: dict[merkle.Place, bytes] = {}

    def read(place: merkle.Place) -> bytes:
        if place not in seen:
            level, at = place
            below = level % STEP
            seen[place] = merkle.fold(_stored(tx, name, level - below, at << below, 1 << below))
        return seen[place]

    return read


def _hex(value: bytes | None) -> str:
    return bytes(value or b"").hex()


def _open_month(tx: Tx) -> Month:
    """Return the month that settlements go into now, which is made when missing."""
    name = month_of(tx.now)
    while (found := month(tx, name)) is not None and found.closed_at is not None:
        name = month_of(month_bounds(name)[1])
    if found is None:
        found = Month(name, 0, 0, None)
        tx.connection.execute(_ADD_MONTH, attrs.asdict(found))
    return found


def _complete(tx: Tx, name: str, before: int, after: int) -> None:
    """Store the hashes of the subtrees that new leaves have completed, at the levels that are stored."""
    level = STEP
    while complete := range(before >> level, after >> level):
        rows = [
            {"month": name, "level": level, "place": at, "hash": _span(tx, name, level - STEP, at)} for at in complete
        ]
        _ADD_HASHES.run(tx, rows)
        level += STEP


def _span(tx: Tx, name: str, level: int, at: int) -> bytes:
    return merkle.fold(_stored(tx, name, level, at << STEP, _SPAN))


def _stored(tx: Tx, name: str, level: int, first: int, count: int) -> list[bytes]:
    """Return so many neighbours of a level that is stored.

    Raises:
        LookupError: they are not all there.
    """
    where = {"name": name, "first": first, "after": first + count}
    if level:
        rows: Iterable[sa.Row[tuple[bytes]]] = tx.connection.execute(
            _HASHES.order_by(month_hashes.c.place), {**where, "height": level}
        )
    else:
        rows = tx.connection.execute(_LEAVES.order_by(settlements.c.place), where)
    found = [bytes(row.hash) for row in rows]
    if len(found) != count:
        raise LookupError(f"the tree of {name} lacks hashes of level {level} from {first} on")
    return found

"""The prices that the owner has set: only ever added to, so that what held when is known for good."""

from __future__ import annotations

import attrs
import sqlalchemy as sa

from edgeagent.gateway.store import audit
from edgeagent.gateway.store.tables import prices
from edgeagent.gateway.store.writer import Tx
from edgeagent.wire.units import format_credits

_NEWEST = sa.select(sa.func.max(prices.c.seq)).group_by(prices.c.job_type)
_CURRENT = sa.select(prices.c.job_type, prices.c.price_ucr).where(prices.c.seq.in_(_NEWEST))


@attrs.frozen
class Price:
    """What a job type costs from ``since`` on, in seconds since the epoch."""

    job_type: str  # or ledger.ANY_OTHER
    price_ucr: int
    since: float


def current(tx: Tx) -> dict[str, int]:
    """Return the prices that hold now, in micro-credits by job type, as far as the owner has set any."""
    return {row.job_type: row.price_ucr for row in tx.connection.execute(_CURRENT)}


def change(tx: Tx, job_type: str, price_ucr: int, actor: str) -> bool:
    """Set a price for jobs submitted from now on; return False if it was that already."""
    if current(tx).get(job_type) == price_ucr:
        return False
    tx.connection.execute(sa.insert(prices).values(job_type=job_type, price_ucr=price_ucr, since=tx.now))
    audit.record(tx, actor, "price.set", job_type, f"{format_credits(price_ucr)} credits")
    return True


def history(tx: Tx) -> list[Price]:
    """Return every price that was ever set, oldest first."""
    rows = tx.connection.execute(sa.select(prices).order_by(prices.c.seq))
    return [Price(row.job_type, row.price_ucr, row.since) for row in rows]

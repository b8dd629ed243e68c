"""Where operators want to be paid, as their nodes have signed it."""

from __future__ import annotations

import sqlalchemy as sa

from edgeagent.gateway.store.payout_tables import payout_addresses
from edgeagent.gateway.store.writer import Tx


def current(tx: Tx, node_id: str) -> tuple[str, float] | None:
    """Return a node's address and since when it has it, in seconds since the epoch; None where there is none."""
    row = tx.connection.execute(_of(node_id)).one_or_none()
    return (row.address, row.since) if row is not None and row.address else None


def change(tx: Tx, node_id: str, address: str) -> bool:
    """Give a node another address, or with an empty one none; return whether that is new."""
    known = tx.connection.execute(_of(node_id)).one_or_none()
    if (known.address if known is not None else "") == address:
        return False
    values = {"address": address, "since": tx.now}
    if known is None:
        tx.connection.execute(sa.insert(payout_addresses).values(node_id=node_id, **values))
    else:
        tx.connection.execute(sa.update(payout_addresses).where(payout_addresses.c.node_id == node_id).values(**values))
    return True


def _of(node_id: str) -> sa.Select[*tuple[str, str, float]]:
    return sa.select(payout_addresses).where(payout_addresses.c.node_id == node_id)

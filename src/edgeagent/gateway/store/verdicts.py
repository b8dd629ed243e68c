"""What became of results that were held, for a node that had no link when it was decided."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from edgeagent.gateway.jobs import AttemptState
from edgeagent.gateway.store import settlements
from edgeagent.gateway.store.flights import News
from edgeagent.gateway.store.tables import attempts, jobs
from edgeagent.gateway.store.writer import Tx

#: How an attempt whose result was held may end.
_DECIDED = (AttemptState.COMPLETED, AttemptState.DISPUTED, AttemptState.CANCELLED)

_ENDED = (
    sa.select(attempts.c.attempt_id, attempts.c.node_id, attempts.c.state, attempts.c.detail, jobs.c.price_ucr)
    .join_from(attempts, jobs)
    .where(
        attempts.c.attempt_id.in_(sa.bindparam("ids", expanding=True)),
        attempts.c.node_id == sa.bindparam("node"),
        attempts.c.state.in_([one.value for one in _DECIDED]),
    )
    .order_by(attempts.c.seq)
)


def of_node(tx: Tx, node_id: str, attempt_ids: Sequence[str]) -> list[News]:
    """Return how those of these attempts ended that were the node's and are decided, oldest first."""
    rows = tx.connection.execute(_ENDED, {"ids": list(attempt_ids), "node": node_id}).all()
    paid = [row.attempt_id for row in rows if row.state == AttemptState.COMPLETED.value]
    how = settlements.of_attempts(tx, paid)
    return [
        News(
            attempt_id=row.attempt_id,
            node_id=row.node_id,
            credited_ucr=row.price_ucr if row.state == AttemptState.COMPLETED.value else 0,
            reason=row.detail,
            settlement=how.get(row.attempt_id),
        )
        for row in rows
    ]

"""Which attempt a node means that only names a job."""

from __future__ import annotations

import sqlalchemy as sa

from edgeagent.gateway.store.tables import attempts
from edgeagent.gateway.store.writer import Tx

_NEWEST = (
    sa.select(attempts.c.attempt_id)
    .where(attempts.c.job_id == sa.bindparam("job"), attempts.c.node_id == sa.bindparam("node"))
    .order_by(attempts.c.seq.desc())
    .limit(1)
)


def newest(tx: Tx, node_id: str, job_id: str) -> str | None:
    """Return the id of the newest attempt that the node had of the job; None if it had none."""
    return tx.connection.scalar(_NEWEST, {"job": job_id, "node": node_id})

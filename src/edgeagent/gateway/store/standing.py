"""Why a node is in the state it is in, and what was given to nodes lately."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from edgeagent.gateway.jobs import OPEN_ATTEMPTS
from edgeagent.gateway.needs import Need
from edgeagent.gateway.standing import Failure, Stored
from edgeagent.gateway.store.tables import attempts, jobs, node_states
from edgeagent.gateway.store.writer import Tx

#: Seconds that count as lately, and most attempts that are looked at.
LATELY_S = 600.0
MOST_RECENT = 1000

_STATE = sa.select(node_states.c.cause, node_states.c.since).where(
    node_states.c.node_id == sa.bindparam("node"), node_states.c.until.is_(None)
)
_FAILURES = (
    sa.select(attempts.c.job_id, jobs.c.job_type, attempts.c.outcome, attempts.c.detail, attempts.c.ended_at)
    .join_from(attempts, jobs)
    .where(
        attempts.c.job_id.in_(sa.bindparam("jobs", expanding=True)),
        attempts.c.node_id == sa.bindparam("node"),
        attempts.c.state.not_in([state.value for state in OPEN_ATTEMPTS]),
    )
    .order_by(attempts.c.seq.desc())
)
_NEWEST = sa.select(attempts.c.job_id, attempts.c.node_id, attempts.c.created_at).order_by(attempts.c.seq.desc())
_RECENT = _NEWEST.limit(MOST_RECENT).subquery()
_GIVEN = (
    sa.select(jobs.c.need, _RECENT.c.node_id)
    .join_from(_RECENT, jobs, jobs.c.job_id == _RECENT.c.job_id)
    .where(_RECENT.c.created_at >= sa.bindparam("since"))
)


def stored(tx: Tx, node_id: str, failed_jobs: Collection[str]) -> Stored:
    """Return what the store knows of a node's standing; ``failed_jobs`` are those that count against it."""
    state = tx.connection.execute(_STATE, {"node": node_id}).one()
    failures = tx.connection.execute(_FAILURES, {"node": node_id, "jobs": list(failed_jobs)})
    given = tx.connection.execute(_GIVEN, {"since": tx.now - LATELY_S})
    return Stored(
        cause=state.cause,
        since_s=max(0.0, tx.now - state.since),
        failures=tuple(
            Failure(
                job_id=row.job_id,
                job_type=row.job_type,
                outcome=row.outcome or "",
                detail=row.detail,
                ago_s=max(0.0, tx.now - (row.ended_at or tx.now)),
            )
            for row in failures
        ),
        recent=tuple((Need.parse(row.need), row.node_id == node_id) for row in given),
    )

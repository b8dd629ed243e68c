"""How a change of ``gateway.jobs`` is written: the rows of the job and its attempts, its money, and whom it concerns.

Called by whoever has decided the change (``store.jobs``, ``store.compared``); nothing is written before the caller's
``Changes`` are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from edgeagent.gateway import jobs as rules
from edgeagent.gateway import ledger
from edgeagent.gateway.jobs import AttemptState, Change, JobState, Money, Standing
from edgeagent.gateway.store.changes import Changes
from edgeagent.gateway.store.flights import Applied, News, Start, Stop
from edgeagent.gateway.store.results import as_json
from edgeagent.gateway.store.settlements import Due
from edgeagent.gateway.store.tables import attempts
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.texts import one_line
from edgeagent.wire.messages import Outcome

#: A row of which only the names of the columns are known.
_Row = Any

_HOLDER = sa.select(attempts.c.node_id).where(attempts.c.attempt_id == sa.bindparam("attempt"))
_FAILED_ON = sa.select(attempts.c.node_id).where(
    attempts.c.job_id == sa.bindparam("job"), attempts.c.outcome.in_([outcome.value for outcome in rules.BLAMED])
)
_HELD = (
    sa.select(attempts.c.attempt_id, attempts.c.node_id)
    .where(attempts.c.job_id == sa.bindparam("job"), attempts.c.state == AttemptState.HELD.value)
    .order_by(attempts.c.seq)
)


def standing(row: _Row) -> Standing:
    """Return what the rules look at, of a row with a job and one of its attempts."""
    return Standing(
        job=JobState(row.state),
        attempt=AttemptState(row.attempt_state),
        retries=row.retries,
        max_attempts=row.max_attempts,
    )


def apply(
    tx: Tx,
    changes: Changes,
    row: _Row,
    change: Change,
    outcome: Outcome | None,
    detail: str,
    *,
    attempt: Mapping[str, Any] | None = None,
    job: Mapping[str, Any] | None = None,
) -> Applied:
    """Collect a change; ``attempt`` and ``job`` are further columns of the two rows."""
    detail = one_line(detail)
    stop = stop_current(tx, changes, row, "another attempt settled the job") if change.stop_current else None
    told = None if outcome is None else outcome.value
    changes.attempt(
        row.attempt_id,
        **{"state": change.attempt.value, "outcome": told, "detail": detail, "ended_at": tx.now, **(attempt or {})},
    )
    news: tuple[News, ...] = ()
    if change.job is JobState.QUEUED:
        columns = _queued(tx, change)
    elif change.job in rules.OPEN_JOBS:
        columns = {"state": change.job.value, "retries": change.retries}  # another attempt goes on
    else:
        columns = {"current_attempt": row.attempt_id, **ended(tx, changes, row, change)}
        if change.job is JobState.FAILED:
            columns["error"] = f"{outcome}: {detail}" if detail else str(outcome)
            news = let_go(tx, changes, row, "the job failed before another node had confirmed it")
    changes.job(row.job_id, **{**columns, **(job or {})})
    elsewhere = _failed_on(tx, row.job_id) - {row.node_id} if outcome in rules.BLAMED else frozenset()
    return Applied(
        job_id=row.job_id,
        job=change.job,
        pause_s=change.pause_s if change.job is JobState.QUEUED else None,
        stop=stop,
        outcome=outcome,
        elsewhere=elsewhere,
        news=news,
    )


def _queued(tx: Tx, change: Change) -> dict[str, Any]:
    return {
        "state": change.job.value,
        "retries": change.retries,
        "rests_until": tx.now + change.pause_s,
        "current_attempt": None,
        "started_at": None,
    }


def ended(tx: Tx, changes: Changes, row: _Row, change: Change) -> dict[str, Any]:
    """Give the price back where it is to be, and return how the job's row ends."""
    if change.money is Money.RELEASE and row.price_ucr:
        changes.post(ledger.release(row.account_id, row.job_id, row.price_ucr * row.quorum))
    return {"state": change.job.value, "retries": change.retries, "finished_at": tx.now}


def stop_current(tx: Tx, changes: Changes, row: _Row, reason: str) -> Stop:
    """Cancel the attempt that its job waits for, and return what its node is to be told."""
    holder = tx.connection.execute(_HOLDER, {"attempt": row.current_attempt}).scalar_one()
    ended = {"state": AttemptState.CANCELLED.value, "outcome": Outcome.CANCELLED.value, "ended_at": tx.now}
    changes.attempt(row.current_attempt, detail=reason, **ended)
    return Stop(row.current_attempt, holder, reason)


def _failed_on(tx: Tx, job_id: str) -> frozenset[str]:
    return frozenset(tx.connection.scalars(_FAILED_ON, {"job": job_id}))


def settle(changes: Changes, row: _Row, paid: Sequence[Start], value: Any, result_ref: str | None) -> dict[str, Any]:
    """Pay the price for each of these attempts, and return the columns of the job that say so and hold its result."""
    if row.price_ucr:
        node_ids, held_ucr = [one.node_id for one in paid], row.price_ucr * row.quorum
        changes.post(ledger.settle(row.account_id, row.job_id, node_ids, row.price_ucr, held_ucr))
    for one in paid:
        changes.credit(one.node_id, row.price_ucr)
        if row.price_ucr:
            changes.settle(Due(one.attempt_id, row.price_ucr))
    return {"credited_ucr": row.price_ucr * len(paid), "value": as_json(value), "result_ref": result_ref}


def let_go(tx: Tx, changes: Changes, row: _Row, reason: str) -> tuple[News, ...]:
    """A job has ended without a result: those that were held wait no more, and count for and against nobody."""
    if row.quorum == 1:
        return ()
    held = tx.connection.execute(_HELD, {"job": row.job_id}).all()
    for one in held:
        changes.attempt(one.attempt_id, state=AttemptState.CANCELLED.value, detail=reason)
    return tuple(News(one.attempt_id, one.node_id, 0, reason) for one in held)

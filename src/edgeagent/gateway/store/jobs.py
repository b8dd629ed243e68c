"""Jobs and attempts on disk: each function is one event of ``gateway.jobs``, money included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from edgeagent.gateway import jobs as rules
from edgeagent.gateway import ledger
from edgeagent.gateway.jobs import OPEN_JOBS, AttemptState, Change, JobState, Money, Standing
from edgeagent.gateway.store.changes import Changes
from edgeagent.gateway.store.flights import Answer, Applied, Start, Stop, Told
from edgeagent.gateway.store.prepared import Among
from edgeagent.gateway.store.results import as_json, checked, confinement
from edgeagent.gateway.store.tables import attempts, jobs
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.texts import one_line
from edgeagent.wire.codec import converter
from edgeagent.wire.messages import Outcome

#: A row of which only the names of the columns are known.
_Row = Any

_JOB = sa.select(
    jobs.c.job_id,
    jobs.c.account_id,
    jobs.c.state,
    jobs.c.retries,
    jobs.c.price_ucr,
    jobs.c.current_attempt,
    jobs.c.deadline_s,
).where(jobs.c.job_id == sa.bindparam("job"))
_FIND = Among(
    sa.select(
        jobs.c.job_id,
        jobs.c.account_id,
        jobs.c.state,
        jobs.c.retries,
        jobs.c.max_attempts,
        jobs.c.price_ucr,
        jobs.c.credited_ucr,
        jobs.c.current_attempt,
        attempts.c.attempt_id,
        attempts.c.node_id,
        attempts.c.state.label("attempt_state"),
    )
    .join_from(attempts, jobs)
    .where(attempts.c.attempt_id.in_(sa.bindparam("attempts", expanding=True))),
    "attempts",
)
_HOLDER = sa.select(attempts.c.node_id).where(attempts.c.attempt_id == sa.bindparam("attempt"))
_DECLINES = sa.select(sa.func.count()).where(
    attempts.c.job_id == sa.bindparam("job"), attempts.c.state == AttemptState.DECLINED.value
)
_FAILED_ON = sa.select(attempts.c.node_id).where(
    attempts.c.job_id == sa.bindparam("job"), attempts.c.outcome.in_([outcome.value for outcome in rules.BLAMED])
)


def accept(tx: Tx, starts: Sequence[Start]) -> list[bool]:
    """Nodes start attempts; return of each whether it should."""
    rows = _find_all(tx, starts)
    changes, should = Changes(), []
    for start in starts:
        row = rows.get(start)
        change = None if row is None else rules.accepted(_standing(row))
        if row is not None and change is not None:
            changes.attempt(start.attempt_id, state=change.attempt.value)
            changes.job(row.job_id, state=change.job.value, started_at=tx.now)
        should.append(change is not None or (row is not None and row.attempt_state == AttemptState.RUNNING.value))
    changes.write(tx)
    return should


def give_back(tx: Tx, attempt_id: str, node_id: str, reason: str) -> Applied | None:
    """The attempt never started; None if it is over already."""
    row = _find(tx, attempt_id, node_id)
    change = None if row is None else rules.declined(_standing(row), _declines(tx, row.job_id))
    if row is None or change is None:
        return None
    changes = Changes()
    applied = _apply(tx, changes, row, change, None, reason)
    changes.write(tx)
    return applied


def lose(tx: Tx, attempt_id: str, node_id: str, reason: str, lines: Sequence[str] = ()) -> Applied | None:
    """The attempt, which printed these last lines, is lost; None if it is over already."""
    row = _find(tx, attempt_id, node_id)
    change = None if row is None else rules.lost(_standing(row))
    if row is None or change is None:
        return None
    changes = Changes()
    if lines:
        changes.lines(attempt_id, lines)
    applied = _apply(tx, changes, row, change, Outcome.LOST, reason)
    changes.write(tx)
    return applied


def finish(tx: Tx, told: Sequence[Told]) -> list[Answer | None]:
    """Take results of nodes; the answer to each is None if the node never had such an attempt.

    One after the other, as far as they are about the same job; all others together.
    """
    answers: list[Answer | None] = [None] * len(told)
    waiting = list(range(len(told)))
    while waiting:
        taken: dict[str, int] = {}
        for place in waiting:
            taken.setdefault(told[place].result.job_id, place)
        rows, changes = _find_all(tx, [told[place].start for place in taken.values()]), Changes()
        for job_id, place in taken.items():
            row = rows.get(told[place].start)
            if row is not None and row.job_id == job_id:
                answers[place] = _finish(tx, changes, row, told[place])
        changes.write(tx)
        waiting = [place for place in waiting if taken[told[place].result.job_id] != place]
    return answers


def _finish(tx: Tx, changes: Changes, row: _Row, told: Told) -> Answer:
    result, progress = checked(tx, told.result), told.progress
    change = rules.ended(_standing(row), result.outcome)
    if change is None:
        won = row.current_attempt == result.attempt_id and row.attempt_state == AttemptState.COMPLETED.value
        return Answer(row.credited_ucr if won else 0)
    used = {"usage": as_json(converter.unstructure(result.usage)), "sandbox": confinement(result)}
    won = change.money is Money.SETTLE
    gave: dict[str, Any] = {
        "progress_fraction": 1.0 if won else progress.fraction,
        "progress_text": progress.text,
    }
    if won:
        if row.price_ucr:
            changes.post(ledger.settle(row.account_id, row.job_id, told.node_id, row.price_ucr))
        changes.credit(told.node_id, row.price_ucr)
        gave |= {"credited_ucr": row.price_ucr, "value": as_json(result.value), "result_ref": result.result_ref}
    if progress.lines:
        changes.lines(result.attempt_id, progress.lines)
    applied = _apply(tx, changes, row, change, result.outcome, result.detail, attempt=used, job=gave)
    return Answer(row.price_ucr if won else 0, applied)


def cancel(tx: Tx, job_id: str, account_id: str | None = None) -> Applied | None:
    """The job is wanted no more; None if it has ended.

    Args:
        account_id: whose job it must be; None for the network's owner.

    Raises:
        LookupError: there is no such job.
    """
    row = tx.connection.execute(_JOB, {"job": job_id}).one_or_none()
    if row is None or account_id not in (None, row.account_id):
        raise LookupError(job_id)
    return _give_up(tx, row, rules.cancelled(JobState(row.state), row.retries), "the submitter cancelled the job", None)


def expire(tx: Tx, job_ids: Iterable[str]) -> list[Applied]:
    """The deadlines of these jobs have passed; return what that did, without those that have ended."""
    applied = []
    for job_id in job_ids:
        row = tx.connection.execute(_JOB, {"job": job_id}).one()
        change = rules.overdue(JobState(row.state), row.retries)
        error = f"deadline: not completed within {row.deadline_s:g} s of its submission"
        applied.append(_give_up(tx, row, change, "the job's deadline has passed", error))
    return [one for one in applied if one is not None]


def _give_up(tx: Tx, row: _Row, change: Change | None, reason: str, error: str | None) -> Applied | None:
    if change is None:
        return None
    changes = Changes()
    stop = _stop_current(tx, changes, row, reason) if change.stop_current else None
    changes.job(row.job_id, error=error, rests_until=None, **_ended(tx, changes, row, change))
    changes.write(tx)
    return Applied(job_id=row.job_id, job=change.job, stop=stop)


def _find(tx: Tx, attempt_id: str, node_id: str) -> _Row | None:
    start = Start(attempt_id, node_id)
    return _find_all(tx, [start]).get(start)


def _find_all(tx: Tx, wanted: Sequence[Start]) -> dict[Start, _Row]:
    """Return the attempts that were given to these nodes."""
    rows = _FIND.rows(tx, [start.attempt_id for start in wanted])
    return {Start(row.attempt_id, row.node_id): row for row in rows}


def _declines(tx: Tx, job_id: str) -> int:
    return int(tx.connection.execute(_DECLINES, {"job": job_id}).scalar_one())


def _standing(row: _Row) -> Standing:
    return Standing(
        job=JobState(row.state),
        attempt=AttemptState(row.attempt_state),
        retries=row.retries,
        max_attempts=row.max_attempts,
    )


def _apply(
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
    stop = _stop_current(tx, changes, row, "another attempt settled the job") if change.stop_current else None
    told = None if outcome is None else outcome.value
    changes.attempt(
        row.attempt_id,
        **{"state": change.attempt.value, "outcome": told, "detail": detail, "ended_at": tx.now, **(attempt or {})},
    )
    if change.job in OPEN_JOBS:
        columns = _queued(tx, change)
    else:
        columns = {"current_attempt": row.attempt_id, **_ended(tx, changes, row, change)}
        if change.job is JobState.FAILED:
            columns["error"] = f"{outcome}: {detail}" if detail else str(outcome)
    changes.job(row.job_id, **columns, **(job or {}))
    elsewhere = _failed_on(tx, row.job_id) - {row.node_id} if outcome in rules.BLAMED else frozenset()
    return Applied(
        job_id=row.job_id,
        job=change.job,
        pause_s=change.pause_s if change.job is JobState.QUEUED else None,
        stop=stop,
        outcome=outcome,
        elsewhere=elsewhere,
    )


def _queued(tx: Tx, change: Change) -> dict[str, Any]:
    return {
        "state": change.job.value,
        "retries": change.retries,
        "rests_until": tx.now + change.pause_s,
        "current_attempt": None,
        "started_at": None,
    }


def _ended(tx: Tx, changes: Changes, row: _Row, change: Change) -> dict[str, Any]:
    """Give the price back where it is to be, and return how the job's row ends."""
    if change.money is Money.RELEASE and row.price_ucr:
        changes.post(ledger.release(row.account_id, row.job_id, row.price_ucr))
    return {"state": change.job.value, "retries": change.retries, "finished_at": tx.now}


def _stop_current(tx: Tx, changes: Changes, row: _Row, reason: str) -> Stop:
    holder = tx.connection.execute(_HOLDER, {"attempt": row.current_attempt}).scalar_one()
    ended = {"state": AttemptState.CANCELLED.value, "outcome": Outcome.CANCELLED.value, "ended_at": tx.now}
    changes.attempt(row.current_attempt, detail=reason, **ended)
    return Stop(row.current_attempt, holder, reason)


def _failed_on(tx: Tx, job_id: str) -> frozenset[str]:
    return frozenset(tx.connection.scalars(_FAILED_ON, {"job": job_id}))

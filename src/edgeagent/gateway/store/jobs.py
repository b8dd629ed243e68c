"""Jobs and attempts on disk: each function is one event of ``gateway.jobs``, money included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from edgeagent.gateway import jobs as rules
from edgeagent.gateway.jobs import AttemptState, Change, JobState, Money
from edgeagent.gateway.store import checks, compared
from edgeagent.gateway.store.changes import Changes
from edgeagent.gateway.store.effects import apply, ended, let_go, settle, standing, stop_current
from edgeagent.gateway.store.flights import Answer, Applied, Start, Told
from edgeagent.gateway.store.prepared import Among
from edgeagent.gateway.store.results import as_json, checked, confinement
from edgeagent.gateway.store.tables import attempts, jobs
from edgeagent.gateway.store.writer import Tx
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
    jobs.c.quorum,
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
        jobs.c.job_type,
        jobs.c.need,
        jobs.c.price_ucr,
        jobs.c.quorum,
        jobs.c.known_answer,
        jobs.c.current_attempt,
        attempts.c.attempt_id,
        attempts.c.node_id,
        attempts.c.state.label("attempt_state"),
    )
    .join_from(attempts, jobs)
    .where(attempts.c.attempt_id.in_(sa.bindparam("attempts", expanding=True))),
    "attempts",
)
_DECLINES = sa.select(sa.func.count()).where(
    attempts.c.job_id == sa.bindparam("job"), attempts.c.state == AttemptState.DECLINED.value
)


def accept(tx: Tx, starts: Sequence[Start]) -> list[bool]:
    """Nodes start attempts; return of each whether it should."""
    rows = _find_all(tx, starts)
    changes, should = Changes(), []
    for start in starts:
        row = rows.get(start)
        change = None if row is None else rules.accepted(standing(row))
        if row is not None and change is not None:
            changes.attempt(start.attempt_id, state=change.attempt.value)
            changes.job(row.job_id, state=change.job.value, started_at=tx.now)
        should.append(change is not None or (row is not None and row.attempt_state == AttemptState.RUNNING.value))
    changes.write(tx)
    return should


def give_back(tx: Tx, attempt_id: str, node_id: str, reason: str) -> Applied | None:
    """The attempt never started; None if it is over already."""
    row = _find(tx, attempt_id, node_id)
    change = None if row is None else rules.declined(standing(row), _declines(tx, row.job_id))
    if row is None or change is None:
        return None
    changes = Changes()
    applied = apply(tx, changes, row, change, None, reason)
    changes.write(tx)
    return applied


def lose(tx: Tx, attempt_id: str, node_id: str, reason: str, lines: Sequence[str] = ()) -> Applied | None:
    """The attempt, which printed these last lines, is lost; None if it is over already."""
    row = _find(tx, attempt_id, node_id)
    change = None if row is None else rules.lost(standing(row))
    if row is None or change is None:
        return None
    changes = Changes()
    if lines:
        changes.lines(attempt_id, lines)
    applied = apply(tx, changes, row, change, Outcome.LOST, reason)
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
    change = rules.ended(standing(row), result.outcome)
    if change is None:
        return Answer(
            row.price_ucr if row.attempt_state == AttemptState.COMPLETED.value else 0,
            held=row.attempt_state == AttemptState.HELD.value,
        )
    used = {"usage": as_json(converter.unstructure(result.usage)), "sandbox": confinement(result)}
    won = change.money is Money.SETTLE
    if won and (row.quorum > 1 or row.known_answer is not None):
        weighed = checks.weigh(tx, row, told.node_id, result)
        if weighed is not None:
            return compared.take(tx, changes, row, told, weighed, used)
    gave: dict[str, Any] = {
        "progress_fraction": 1.0 if won else progress.fraction,
        "progress_text": progress.text,
    }
    if won:
        gave |= settle(changes, row, [told.start], result.value, result.result_ref)
    if progress.lines:
        changes.lines(result.attempt_id, progress.lines)
    applied = apply(tx, changes, row, change, result.outcome, result.detail, attempt=used, job=gave)
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
    stop = stop_current(tx, changes, row, reason) if change.stop_current else None
    changes.job(row.job_id, error=error, rests_until=None, **ended(tx, changes, row, change))
    news = let_go(tx, changes, row, reason)
    changes.write(tx)
    return Applied(job_id=row.job_id, job=change.job, stop=stop, news=news)


def _find(tx: Tx, attempt_id: str, node_id: str) -> _Row | None:
    start = Start(attempt_id, node_id)
    return _find_all(tx, [start]).get(start)


def _find_all(tx: Tx, wanted: Sequence[Start]) -> dict[Start, _Row]:
    """Return the attempts that were given to these nodes."""
    rows = _FIND.rows(tx, [start.attempt_id for start in wanted])
    return {Start(row.attempt_id, row.node_id): row for row in rows}


def _declines(tx: Tx, job_id: str) -> int:
    return int(tx.connection.execute(_DECLINES, {"job": job_id}).scalar_one())

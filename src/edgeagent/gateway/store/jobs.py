"""Jobs and attempts on disk: each function is one event of ``gateway.jobs``, money included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import sqlalchemy as sa

from edgeagent.gateway import jobs as rules
from edgeagent.gateway.jobs import AttemptState, Change, JobState, Money
from edgeagent.gateway.store import checks, compared, settlements
from edgeagent.gateway.store.changes import Changes
from edgeagent.gateway.store.effects import apply, ended, let_go, settle, standing, stop_current
from edgeagent.gateway.store.flights import Answer, Applied, News, Start, Told
from edgeagent.gateway.store.prepared import Among
from edgeagent.gateway.store.results import as_json, checked, confinement
from edgeagent.gateway.store.tables import attempts, jobs
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.texts import one_line
from edgeagent.wire import receipts
from edgeagent.wire.codec import converter
from edgeagent.wire.messages import JobResult, Outcome
from edgeagent.wire.receipts import Settlement

#: What a node is told whose completed attempt is not paid for.
LATE = "it came too late: the job had been settled by another attempt, failed or cancelled"
APART = "other nodes, or a known answer, say otherwise, or its operator has given a result of the job already"
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
        jobs.c.job_type,
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
        attempts.c.detail,
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
    settled: dict[str, Settlement] = {}
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
        settled |= changes.write(tx)
        waiting = [place for place in waiting if taken[told[place].result.job_id] != place]
    return _with_settlements(tx, told, answers, settled)


def _with_settlements(
    tx: Tx, told: Sequence[Told], answers: Sequence[Answer | None], settled: Mapping[str, Settlement]
) -> list[Answer | None]:
    """Add to answers, and to the news for others, how those were settled that were paid, now or before."""
    paid = [one.result.attempt_id for one, answer in zip(told, answers, strict=True) if answer and answer.credited_ucr]
    paid += [news.attempt_id for answer in answers if answer for news in _news(answer) if news.credited_ucr]
    how = {**settled, **settlements.of_attempts(tx, list(dict.fromkeys(one for one in paid if one not in settled)))}
    return [
        answer and _with_settlement(answer, one.result.attempt_id, how)
        for one, answer in zip(told, answers, strict=True)
    ]


def _with_settlement(answer: Answer, attempt_id: str, how: Mapping[str, Settlement]) -> Answer:
    if _news(answer) and answer.applied is not None:
        news = tuple(attrs.evolve(one, settlement=how.get(one.attempt_id)) for one in answer.applied.news)
        answer = attrs.evolve(answer, applied=attrs.evolve(answer.applied, news=news))
    return attrs.evolve(answer, settlement=how[attempt_id]) if attempt_id in how else answer


def _news(answer: Answer) -> tuple[News, ...]:
    return () if answer.applied is None else answer.applied.news


def _finish(tx: Tx, changes: Changes, row: _Row, told: Told) -> Answer:
    result, progress = checked(tx, told), told.progress
    change = rules.ended(standing(row), result.outcome)
    if change is None:
        paid, held = (row.attempt_state == one.value for one in (AttemptState.COMPLETED, AttemptState.HELD))
        unpaid = "" if paid or held else _unpaid(row, told, row.detail or LATE)
        return Answer(row.price_ucr if paid else 0, held=held, unpaid=unpaid)
    used = {
        "usage": as_json(converter.unstructure(result.usage)),
        "sandbox": confinement(result),
        "signature": bytes.fromhex(result.signature) or None,
        "receipt_sha256": _digest(row, told.node_id, result),
    }
    changes.listed(result.attempt_id, result.outputs)
    won = change.money is Money.SETTLE
    if won and (row.quorum > 1 or row.known_answer is not None):
        weighed = checks.weigh(tx, row, told.node_id, result)
        if weighed is not None:
            answer = compared.take(tx, changes, row, told, weighed, used)
            unpaid = "" if answer.credited_ucr or answer.held else _unpaid(row, told, APART)
            return attrs.evolve(answer, unpaid=unpaid)
    gave: dict[str, Any] = {
        "progress_fraction": 1.0 if won else progress.fraction,
        "progress_text": progress.text,
    }
    if won:
        gave |= settle(changes, row, [told.start], result.value, result.result_ref)
    if progress.lines:
        changes.lines(result.attempt_id, progress.lines)
    applied = apply(tx, changes, row, change, result.outcome, result.detail, attempt=used, job=gave)
    return Answer(row.price_ucr, applied) if won else Answer(0, applied, unpaid=_unpaid(row, told, result.detail))


def _digest(row: _Row, node_id: str, result: JobResult) -> bytes:
    return bytes.fromhex(receipts.receipt(node_id, row.job_type, row.price_ucr, result).sha256)


def _unpaid(row: _Row, told: Told, why: str) -> str:
    """Return why the node gets nothing for what it says it completed; empty where nothing was to be had."""
    return one_line(why) if row.price_ucr and told.result.outcome is Outcome.COMPLETED else ""


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

"""What comparing a result does to its job: it is held, or decides together with others, or gives the job up.

The money is in here: who agreed is paid, each the price, in the one entry that settles the job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import sqlalchemy as sa

from edgeagent.gateway import jobs as rules
from edgeagent.gateway.jobs import OPEN_ATTEMPTS, AttemptState, Change, JobState
from edgeagent.gateway.needs import Need
from edgeagent.gateway.store import checks
from edgeagent.gateway.store.changes import Changes
from edgeagent.gateway.store.checks import Weighed
from edgeagent.gateway.store.effects import apply, settle, standing
from edgeagent.gateway.store.flights import Answer, Applied, News, Start, Told
from edgeagent.gateway.store.tables import attempts
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.trust import MAX_RESULTS, Result, Ruling
from edgeagent.wire.messages import Outcome

#: A row of which only the names of the columns are known.
_Row = Any

_HOLDER = sa.select(attempts.c.node_id).where(attempts.c.attempt_id == sa.bindparam("attempt"))
_WAITS = "its result waits until the node of another operator confirms it"
_CONFIRMED = "confirmed by the node of another operator"
_WRONG = "two others agreed on another result"
_SPARED = "two others agreed first; its result is near theirs"
_TWICE = "its operator has given a result of this job already"
_SPLIT = f"no two of {MAX_RESULTS} results agree: this job type cannot be checked by comparing them so"
_UNKNOWN = "its result is not the known answer"


def take(tx: Tx, changes: Changes, row: _Row, told: Told, weighed: Weighed, used: Mapping[str, Any]) -> Answer:
    """Collect what a result that was weighed changes, and return the answer to its node.

    Args:
        used: columns of the attempt that say what it used.
    """
    if told.progress.lines:
        changes.lines(told.result.attempt_id, told.progress.lines)
    if weighed.ruling is None:
        return _given_twice(tx, changes, row, weighed, used)
    if weighed.known:
        return _known(tx, changes, row, told, weighed, used)
    if weighed.ruling is Ruling.OPEN:
        return _hold(tx, changes, row, weighed, used)
    if weighed.ruling is Ruling.SPLIT:
        change = rules.refused(standing(row), AttemptState.CANCELLED)
        return Answer(0, _refuse(tx, changes, row, change, _SPLIT, used))
    return _agree(tx, changes, row, told, weighed, used)


def _given_twice(tx: Tx, changes: Changes, row: _Row, weighed: Weighed, used: Mapping[str, Any]) -> Answer:
    """One operator has one voice; an attempt that its job waits for makes room for somebody else's."""
    change = rules.declined(standing(row), 0)
    if change is None:
        return Answer(0)
    return Answer(0, apply(tx, changes, row, change, None, _TWICE, attempt=used, job=_apart(row, weighed)))


def _known(tx: Tx, changes: Changes, row: _Row, told: Told, weighed: Weighed, used: Mapping[str, Any]) -> Answer:
    right = weighed.ruling is Ruling.AGREED
    mine = {told.node_id}
    changes.also(checks.count(row.job_type, mine if right else (), () if right else mine))
    if not right:
        change = rules.refused(standing(row), AttemptState.DISPUTED)
        applied = _refuse(tx, changes, row, change, _UNKNOWN, used)
        return Answer(0, attrs.evolve(applied, wrong=(told.node_id,)))
    change = _completed(row)
    gave = settle(changes, row, [told.start], told.result.value, told.result.result_ref)
    applied = apply(tx, changes, row, change, Outcome.COMPLETED, told.result.detail, attempt=used, job=gave)
    return Answer(row.price_ucr, attrs.evolve(applied, right=(told.node_id,)))


def _hold(tx: Tx, changes: Changes, row: _Row, weighed: Weighed, used: Mapping[str, Any]) -> Answer:
    """Ask somebody else, or let him go on who has the job already."""
    now = standing(row)
    change = rules.held(now, checked_now=_checked_now(tx, row, weighed.apart))
    changes.also(lambda tx: checks.hold(tx, weighed.result))
    job = _apart(row, weighed)
    applied = apply(tx, changes, row, change, Outcome.COMPLETED, _WAITS, attempt=used, job=job)
    return Answer(0, applied, held=True)


def _agree(tx: Tx, changes: Changes, row: _Row, told: Told, weighed: Weighed, used: Mapping[str, Any]) -> Answer:
    assert weighed.verdict is not None
    verdict, accepted = weighed.verdict, weighed.verdict.accepted
    paid = [Start(one.attempt_id, one.node_id) for one in verdict.right]
    gave = settle(changes, row, paid, accepted.value, accepted.result_ref)
    right, wrong = ([one.node_id for one in some] for some in (verdict.right, verdict.wrong))
    changes.also(checks.count(row.job_type, right, wrong))
    others = [one for one in verdict.right if one.attempt_id != told.result.attempt_id]
    news = [
        *_end(changes, others, AttemptState.COMPLETED, _CONFIRMED, row.price_ucr),
        *_end(changes, verdict.wrong, AttemptState.DISPUTED, _WRONG, 0),
        *_end(changes, verdict.spared, AttemptState.CANCELLED, _SPARED, 0),
    ]
    job = {**gave, "current_attempt": accepted.attempt_id, "progress_fraction": 1.0}
    applied = apply(tx, changes, row, _completed(row), Outcome.COMPLETED, _CONFIRMED, attempt=used, job=job)
    return Answer(row.price_ucr, attrs.evolve(applied, news=tuple(news), right=tuple(right), wrong=tuple(wrong)))


def _refuse(tx: Tx, changes: Changes, row: _Row, change: Change, why: str, used: Mapping[str, Any]) -> Applied:
    """Give the job up for what its result is; that says nothing about whether its node works."""
    applied = apply(tx, changes, row, change, Outcome.COMPLETED, why, attempt=used, job={"error": why})
    return attrs.evolve(applied, outcome=None)


def _end(changes: Changes, results: Sequence[Result], state: AttemptState, why: str, credited_ucr: int) -> list[News]:
    for one in results:
        changes.attempt(one.attempt_id, state=state.value, detail=why)
    return [News(one.attempt_id, one.node_id, credited_ucr, why) for one in results]


def _completed(row: _Row) -> Change:
    change = rules.ended(standing(row), Outcome.COMPLETED)
    assert change is not None  # the caller has asked
    return change


def _checked_now(tx: Tx, row: _Row, apart: Sequence[str]) -> bool:
    """Whether another operator's attempt is open, which then is the check."""
    if AttemptState(row.attempt_state) in OPEN_ATTEMPTS or JobState(row.state) is JobState.QUEUED:
        return False
    holder = tx.connection.execute(_HOLDER, {"attempt": row.current_attempt}).scalar_one()
    return checks.operator(tx, holder) not in apart


def _apart(row: _Row, weighed: Weighed) -> dict[str, str]:
    return {"need": str(attrs.evolve(Need.parse(row.need), apart=weighed.apart))}

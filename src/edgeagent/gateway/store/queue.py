"""The queue on disk: which jobs may start, in the order that ``backlog`` has, and what is being worked on.

Every look is bounded and goes through an index; the conditions of partial indexes are spelled out as literals, because
a database uses such an index only where it can see that the query implies it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent.gateway import jobs as rules
from edgeagent.gateway.backlog import WINDOW, Waiting
from edgeagent.gateway.jobs import OPEN_ATTEMPTS, AttemptState, JobState
from edgeagent.gateway.needs import Need
from edgeagent.gateway.store.flights import Flight
from edgeagent.gateway.store.prepared import Among, Many
from edgeagent.gateway.store.tables import attempts, jobs
from edgeagent.gateway.store.writer import Tx
from edgeagent.wire.messages import Limits, Reference

#: Most jobs that one request wakes from their rest, or finds overdue.
MAX_DUE = 500
#: Nodes that had a job, the latest, which its next attempt avoids.
MAX_AVOIDED = 16

#: The pause is counted on another clock, which rounds otherwise.
_SLACK_S = 0.001

_QUEUED = sa.literal_column("state || ''") == sa.literal_column("'QUEUED'")  # as in ``tables``
_WAITING = sa.and_(_QUEUED, jobs.c.rests_until.is_(None))
_HEADS = (
    sa.select(jobs.c.job_id, jobs.c.priority, jobs.c.seq)
    .where(_WAITING, jobs.c.account_id == sa.bindparam("account"), jobs.c.need == sa.bindparam("wanted"))
    .order_by(jobs.c.priority.desc(), jobs.c.seq)
    .limit(WINDOW)
)
# Two looks for the next lane: asked for both columns at once, SQLite goes through the whole lane to its end.
_NEXT_NEED = (
    sa.select(jobs.c.account_id, jobs.c.need)
    .where(_WAITING, jobs.c.account_id == sa.bindparam("account"), jobs.c.need > sa.bindparam("wanted"))
    .order_by(jobs.c.need)
    .limit(1)
)
_NEXT_ACCOUNT = (
    sa.select(jobs.c.account_id, jobs.c.need)
    .where(_WAITING, jobs.c.account_id > sa.bindparam("account"))
    .order_by(jobs.c.account_id, jobs.c.need)
    .limit(1)
)
_DUE = (
    sa.select(jobs.c.seq)
    .where(
        _QUEUED,
        jobs.c.rests_until.is_not(None),
        sa.or_(jobs.c.rests_until <= sa.bindparam("now"), jobs.c.rests_until > sa.bindparam("later")),
    )
    .limit(MAX_DUE)
)
_ROUSE = sa.update(jobs).where(jobs.c.seq.in_(_DUE)).values(rests_until=None).returning(jobs.c.account_id, jobs.c.need)
_OVERDUE = (
    sa.select(jobs.c.job_id)
    .where(jobs.c.finished_at.is_(None), jobs.c.deadline_at.is_not(None), jobs.c.deadline_at <= sa.bindparam("now"))
    .order_by(jobs.c.deadline_at)
    .limit(MAX_DUE)
)
_TRIED = Among(
    sa.select(attempts.c.job_id, attempts.c.node_id)
    .where(attempts.c.job_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(attempts.c.seq),
    "ids",
)
# Rows that somebody else is claiming are passed over instead of waited for; SQLite has one writer, and ignores it.
# Whether they wait is looked at afterwards: asked for it too, SQLite goes through all jobs that do.
_CLAIM = Among(
    sa.select(
        jobs.c.job_id,
        jobs.c.job_type,
        jobs.c.payload,
        jobs.c.payload_ref,
        jobs.c.inputs,
        jobs.c.limits,
        jobs.c.price_ucr,
        jobs.c.need,
        jobs.c.retries,
        jobs.c.created_at,
        jobs.c.state,
        jobs.c.rests_until,
    )
    .where(jobs.c.job_id.in_(sa.bindparam("ids", expanding=True)))
    .with_for_update(skip_locked=True),
    "ids",
)
_TAKE = Many(sa.update(jobs).where(jobs.c.job_id == sa.bindparam("id")))
_TAKEN = {"state": JobState.DISPATCHED.value}
_ADD_ATTEMPT = Many(sa.insert(attempts))


@attrs.frozen(kw_only=True)
class Started:
    """A job as its node is to get it."""

    job_id: str
    job_type: str
    payload: dict[str, Any]
    payload_ref: str | None
    inputs: dict[str, Reference]
    limits: Limits
    price_ucr: int
    waited_s: float | None  # since it was submitted; None for a retry


def lanes(tx: Tx) -> list[tuple[str, Need]]:
    """Return each account and need that jobs wait with; two looks into the index for each."""
    found: list[tuple[str, Need]] = []
    row = tx.connection.execute(_NEXT_ACCOUNT, {"account": ""}).first()
    while row is not None:
        found.append((row.account_id, Need.parse(row.need)))
        last = {"account": row.account_id, "wanted": row.need}
        row = tx.connection.execute(_NEXT_NEED, last).first()
        if row is None:
            row = tx.connection.execute(_NEXT_ACCOUNT, {"account": last["account"]}).first()
    return found


def heads(tx: Tx, account_id: str, need: Need) -> list[Waiting]:
    """Return the first jobs of an account with this need, at most ``backlog.WINDOW``, in their order."""
    rows = tx.connection.execute(_HEADS, {"account": account_id, "wanted": str(need)}).all()
    tried = _tried(tx, [row.job_id for row in rows])
    return [
        Waiting(
            job_id=row.job_id,
            account_id=account_id,
            need=need,
            priority=row.priority,
            seq=row.seq,
            avoid=frozenset(tried.get(row.job_id, ())[-MAX_AVOIDED:]),
        )
        for row in rows
    ]


def rouse(tx: Tx) -> set[tuple[str, Need]]:
    """End the rest of the jobs that have rested, at most ``MAX_DUE``; return the accounts and needs of those.

    A clock that was set back must not hold a job up: one that would rest for longer than any pause has rested too.
    """
    due = {"now": tx.now + _SLACK_S, "later": tx.now + rules.LONGEST_PAUSE_S}
    return {(row.account_id, Need.parse(row.need)) for row in tx.connection.execute(_ROUSE, due)}


def overdue(tx: Tx, steady_now: float) -> list[str]:
    """Return open jobs whose deadline has passed, at most ``MAX_DUE``, the earliest first."""
    return list(tx.connection.scalars(_OVERDUE, {"now": steady_now}))


def start(tx: Tx, flights: Iterable[Flight]) -> dict[str, Started]:
    """Store that these attempts are being dispatched; return the jobs that were still waiting, by attempt.

    Args:
        flights: at most one for each job; one whose job needs something else by now is not started.
    """
    wanted = list(flights)
    claimed = _CLAIM.rows(tx, [flight.job_id for flight in wanted])
    rows = {row.job_id: row for row in claimed if row.state == JobState.QUEUED.value and row.rests_until is None}
    started = [one for one in wanted if one.job_id in rows and rows[one.job_id].need == str(one.need)]
    if started:
        taken = [{"id": flight.job_id, "current_attempt": flight.attempt_id, **_TAKEN} for flight in started]
        _TAKE.run(tx, taken)
        _ADD_ATTEMPT.run(tx, [_attempt(flight, tx.now) for flight in started])
    return {flight.attempt_id: _started(rows[flight.job_id], tx.now) for flight in started}


def open_attempts(tx: Tx) -> list[Flight]:
    """Return every attempt that a node may be working on."""
    rows = tx.connection.execute(
        sa.select(
            attempts.c.attempt_id,
            attempts.c.job_id,
            attempts.c.node_id,
            attempts.c.state,
            jobs.c.account_id,
            jobs.c.need,
            jobs.c.price_ucr,
        )
        .join_from(attempts, jobs)
        .where(attempts.c.state.in_([state.value for state in OPEN_ATTEMPTS]))
    )
    return [
        Flight(
            attempt_id=row.attempt_id,
            job_id=row.job_id,
            node_id=row.node_id,
            account_id=row.account_id,
            need=Need.parse(row.need),
            accepted=row.state == AttemptState.RUNNING.value,
            price_ucr=row.price_ucr,
        )
        for row in rows
    ]


def _attempt(flight: Flight, now: float) -> dict[str, Any]:
    return {
        "attempt_id": flight.attempt_id,
        "job_id": flight.job_id,
        "node_id": flight.node_id,
        "state": AttemptState.DISPATCHED.value,
        "detail": "",
        "usage": "{}",
        "sandbox": "{}",
        "created_at": now,
    }


def _started(row: Any, now: float) -> Started:
    return Started(
        job_id=row.job_id,
        job_type=row.job_type,
        payload=orjson.loads(row.payload),
        payload_ref=row.payload_ref,
        inputs={name: Reference(**one) for name, one in orjson.loads(row.inputs).items()},
        limits=Limits(**orjson.loads(row.limits)),
        price_ucr=row.price_ucr,
        waited_s=None if row.retries or Need.parse(row.need).apart else max(0.0, now - row.created_at),
    )


def _tried(tx: Tx, job_ids: Sequence[str]) -> dict[str, list[str]]:
    tried: dict[str, list[str]] = {}
    for row in _TRIED.rows(tx, job_ids):
        tried.setdefault(row.job_id, []).append(row.node_id)
    return tried

"""The queue on disk: which jobs may start, and what is being worked on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent.gateway import jobs as rules
from edgeagent.gateway.jobs import OPEN_ATTEMPTS, AttemptState, JobState
from edgeagent.gateway.store.jobs import Flight
from edgeagent.gateway.store.tables import attempts, jobs
from edgeagent.gateway.store.writer import Tx
from edgeagent.wire.messages import Limits

#: Most jobs looked at for one round of dispatch.
MAX_READY = 64


_READY = (
    sa.select(jobs)
    .where(
        jobs.c.state == JobState.QUEUED.value,
        jobs.c.job_type == sa.bindparam("type"),
        sa.or_(jobs.c.ready_at <= sa.bindparam("now"), jobs.c.ready_at > sa.bindparam("later")),
    )
    .order_by(jobs.c.seq)
    .limit(sa.bindparam("most"))
)
_TRIED = sa.select(attempts.c.job_id, attempts.c.node_id).where(
    attempts.c.job_id.in_(sa.bindparam("ids", expanding=True))
)
# Rows that somebody else is claiming are passed over instead of waited for; SQLite has one writer, and ignores it.
_CLAIM = (
    sa.select(jobs.c.job_id)
    .where(jobs.c.job_id.in_(sa.bindparam("ids", expanding=True)), jobs.c.state == JobState.QUEUED.value)
    .with_for_update(skip_locked=True)
)
_TAKE = sa.update(jobs).where(jobs.c.job_id == sa.bindparam("id"))
_TAKEN = {"state": JobState.DISPATCHED.value}
_ADD_ATTEMPT = sa.insert(attempts)


@attrs.frozen(kw_only=True)
class Ready:
    """A job that waits for a node; ``avoid`` are the nodes that had it already."""

    seq: int
    job_id: str
    job_type: str
    payload: dict[str, Any]
    limits: Limits
    price_ucr: int
    avoid: frozenset[str]


def ready(tx: Tx, free_slots: Mapping[str, int]) -> list[Ready]:
    """Return the oldest jobs that may start now, at most as many of each type as there are free slots for it.

    A clock that was set back must not hold a job up: one that would rest for longer than any pause is ready too.
    """
    rows: list[sa.Row[Any]] = []
    for job_type, free in free_slots.items():
        wanted = {
            "type": job_type,
            "now": tx.now,
            "later": tx.now + rules.LONGEST_PAUSE_S,
            "most": min(free, MAX_READY),
        }
        rows += tx.connection.execute(_READY, wanted).all()
    rows = sorted(rows, key=lambda row: row.seq)[:MAX_READY]
    tried = _tried(tx, [row.job_id for row in rows])
    return [
        Ready(
            seq=row.seq,
            job_id=row.job_id,
            job_type=row.job_type,
            payload=orjson.loads(row.payload),
            limits=Limits(**orjson.loads(row.limits)),
            price_ucr=row.price_ucr,
            avoid=frozenset(tried.get(row.job_id, ())),
        )
        for row in rows
    ]


def start(tx: Tx, flights: Iterable[Flight]) -> set[str]:
    """Store that these attempts are being dispatched; return the ids of those whose job was still QUEUED."""
    wanted = list(flights)
    claimed = set(tx.connection.scalars(_CLAIM, {"ids": [flight.job_id for flight in wanted]}))
    started = [flight for flight in wanted if flight.job_id in claimed]
    if started:
        taken = [{"id": flight.job_id, "current_attempt": flight.attempt_id, **_TAKEN} for flight in started]
        tx.connection.execute(_TAKE, taken)
        tx.connection.execute(
            _ADD_ATTEMPT,
            [
                {
                    "attempt_id": flight.attempt_id,
                    "job_id": flight.job_id,
                    "node_id": flight.node_id,
                    "state": AttemptState.DISPATCHED.value,
                    "detail": "",
                    "usage": "{}",
                    "sandbox": "{}",
                    "created_at": tx.now,
                }
                for flight in started
            ],
        )
    return {flight.attempt_id for flight in started}


def open_attempts(tx: Tx) -> list[Flight]:
    """Return every attempt that a node may be working on."""
    rows = tx.connection.execute(
        sa.select(attempts.c.attempt_id, attempts.c.job_id, attempts.c.node_id, attempts.c.state).where(
            attempts.c.state.in_([state.value for state in OPEN_ATTEMPTS])
        )
    )
    return [Flight(row.attempt_id, row.job_id, row.node_id, row.state == AttemptState.RUNNING.value) for row in rows]


def _tried(tx: Tx, job_ids: Collection[str]) -> dict[str, set[str]]:
    tried: dict[str, set[str]] = {}
    if job_ids:
        for row in tx.connection.execute(_TRIED, {"ids": job_ids}):
            tried.setdefault(row.job_id, set()).add(row.node_id)
    return tried

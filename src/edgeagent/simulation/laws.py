"""What must hold at every moment of a simulated day, and what at its end; each breach is one line.

The numbers are those of the guarantees in docs/architecture.md.  Read from the store as an auditor would, and compared
with what nodes and submitters were told.  Real networks, broken on purpose, are held to the same (docs/chaos.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from edgeagent.gateway.jobs import OPEN_ATTEMPTS, OPEN_JOBS, AttemptState, JobState
from edgeagent.gateway.store import Tx, verification
from edgeagent.gateway.store.tables import attempts, jobs

_Rows = Mapping[str, Any]


def breaches(tx: Tx, accepted: Collection[str], credited: Mapping[str, set[int]], *, ended: bool) -> list[str]:
    """Return what does not hold.

    Args:
        accepted: the jobs whose submitters were told so.
        credited: what nodes were told that attempts earned, in micro-credits.
        ended: whether everything has had its time: no job may be open any more.
    """
    all_jobs = {row.job_id: row for row in tx.connection.execute(sa.select(jobs).order_by(jobs.c.seq))}
    all_attempts = {row.attempt_id: row for row in tx.connection.execute(sa.select(attempts).order_by(attempts.c.seq))}
    return [
        *_lost(all_jobs, all_attempts, accepted, ended=ended),
        *_ends(all_attempts),
        *(
            one.what if one.seq is None else f"entry {one.seq}: {one.what}"
            for one in verification.verify(tx, receipts=ended).wrong
        ),
        *_winners(all_jobs, all_attempts, credited),
    ]


def _lost(all_jobs: _Rows, all_attempts: _Rows, accepted: Collection[str], *, ended: bool) -> Iterator[str]:
    """No accepted job is lost; an open attempt is the one its job waits for."""
    for job_id in accepted:
        if job_id not in all_jobs:
            yield f"job {job_id} was accepted and is gone"
    working: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for attempt in all_attempts.values():
        tried[attempt.job_id] += 1
        if AttemptState(attempt.state) in OPEN_ATTEMPTS:
            working[attempt.job_id] += 1
            if all_jobs[attempt.job_id].current_attempt != attempt.attempt_id:
                yield f"attempt {attempt.attempt_id} is open and its job does not wait for it"
    for job_id, job in all_jobs.items():
        if working[job_id] != (job.state in {JobState.DISPATCHED, JobState.RUNNING}):
            yield f"job {job_id} is {job.state} with {working[job_id]} open attempts"
        if ended and JobState(job.state) in OPEN_JOBS:
            yield f"job {job_id} has not ended: {job.state} after {tried[job_id]} attempts"
        if job.state == JobState.FAILED and not (tried[job_id] and job.error):
            yield f"job {job_id} failed without an attempt, or without saying why"


def _ends(all_attempts: _Rows) -> Iterator[str]:
    """An attempt has an end when it is over, and only then."""
    for attempt in all_attempts.values():
        over = AttemptState(attempt.state) not in OPEN_ATTEMPTS
        if over != (attempt.ended_at is not None):
            yield f"attempt {attempt.attempt_id} is {attempt.state} and ended at {attempt.ended_at}"


def _winners(all_jobs: _Rows, all_attempts: _Rows, credited: Mapping[str, set[int]]) -> Iterator[str]:
    """A completed job has one winner, or as many as had to agree, each told the price; nobody else was of credits.

    One whose result was held was told so first.
    """
    completed = Counter(row.job_id for row in all_attempts.values() if row.state == AttemptState.COMPLETED)
    for job_id, job in all_jobs.items():
        due = {1, job.quorum} if job.state == JobState.COMPLETED else {0}
        if completed[job_id] not in due or job.credited_ucr != completed[job_id] * job.price_ucr:
            yield f"job {job_id} is {job.state} with {completed[job_id]} completed attempts"
    for attempt_id, told in credited.items():
        attempt = all_attempts.get(attempt_id)
        if attempt is None:
            yield f"attempt {attempt_id} was acknowledged and is unknown"
            continue
        job = all_jobs[attempt.job_id]
        price_ucr = job.price_ucr if attempt.state == AttemptState.COMPLETED else 0
        if told - ({0} if job.quorum > 1 else set()) != {price_ucr} - ({0} if job.quorum > 1 else set()):
            yield f"attempt {attempt_id} is {attempt.state} and was told credits of {sorted(told)}"

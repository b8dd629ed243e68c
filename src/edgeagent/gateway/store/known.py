"""Known answers: completed jobs whose result the owner vouches for, submitted again among others to see who is right.

Each goes to the account that had submitted it, at that account's cost, so the owner keeps one for it; an account that
cannot pay, or has let go of a file, asks nothing for now.  Which job asks again is in ``jobs.known_answer``, and what
its result leads to in ``store.checks``.
"""

from __future__ import annotations

from typing import Any

import attrs
import sqlalchemy as sa

from edgeagent import chance
from edgeagent.gateway.backlog import Waiting
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.ledger import CreditsShortError
from edgeagent.gateway.store import submissions
from edgeagent.gateway.store.submissions import FileGoneError, Submitted
from edgeagent.gateway.store.tables import accounts, jobs
from edgeagent.gateway.store.trust_tables import known_answers
from edgeagent.gateway.store.writer import Tx

_USED = (
    sa.select(known_answers.c.seq, known_answers.c.job_id)
    .join_from(known_answers, jobs)
    .where(jobs.c.job_type == sa.bindparam("kind"), known_answers.c.until.is_(None))
    .order_by(known_answers.c.seq)
)
_JOB = sa.select(jobs).where(jobs.c.job_id == sa.bindparam("job"))


class NoAnswerError(Exception):
    """This job cannot be a known answer; the text says why."""


@attrs.frozen(kw_only=True)
class Known:
    """A known answer, and what became of the jobs that asked for it again, by their state."""

    job_id: str
    job_type: str
    account: str
    used: bool
    asked: dict[str, int]


def add(tx: Tx, job_id: str) -> bool:
    """Use a completed job's result as a known answer; return whether that is new.

    Raises:
        NoAnswerError: see there.
    """
    row = tx.connection.execute(_JOB, {"job": job_id}).one_or_none()
    if row is None:
        raise NoAnswerError(f"there is no job {job_id!r}; see: edgeagent gateway jobs list")
    if JobState(row.state) is not JobState.COMPLETED or row.known_answer is not None:
        raise NoAnswerError("only a COMPLETED job, that does not ask for a known answer itself, has a result to keep")
    same = known_answers.c.job_id == job_id
    there = tx.connection.execute(sa.select(known_answers.c.until).where(same)).one_or_none()
    if there is None:
        tx.connection.execute(sa.insert(known_answers).values(job_id=job_id, since=tx.now))
    elif there.until is not None:
        tx.connection.execute(sa.update(known_answers).where(same).values(until=None))
    return there is None or there.until is not None


def remove(tx: Tx, job_id: str) -> bool:
    """Ask for a known answer no more; return whether it was used until now."""
    used = sa.and_(known_answers.c.job_id == job_id, known_answers.c.until.is_(None))
    return bool(tx.connection.execute(sa.update(known_answers).where(used).values(until=tx.now)).rowcount)


def every(tx: Tx) -> list[Known]:
    """Return all known answers, oldest first."""
    asking = jobs.alias("asking")
    counts: dict[int, dict[str, int]] = {}
    per_state = sa.select(asking.c.known_answer, asking.c.state, sa.func.count().label("count"))
    grouped = per_state.where(asking.c.known_answer.is_not(None)).group_by(asking.c.known_answer, asking.c.state)
    for row in tx.connection.execute(grouped.order_by(asking.c.known_answer, asking.c.state)):
        counts.setdefault(row.known_answer, {})[row.state] = row[2]
    found = (
        sa.select(known_answers, jobs.c.job_type, accounts.c.name)
        .join_from(known_answers, jobs)
        .join(accounts)
        .order_by(known_answers.c.seq)
    )
    return [
        Known(
            job_id=row.job_id,
            job_type=row.job_type,
            account=row.name,
            used=row.until is None,
            asked=counts.get(row.seq, {}),
        )
        for row in tx.connection.execute(found)
    ]


def slip_in(tx: Tx, job_types: tuple[str, ...], steady_now: float) -> tuple[Waiting, ...]:
    """Submit a known-answer job for each of these types that has any, drawn by chance; return those that wait now."""
    waiting: list[Waiting] = []
    for job_type in job_types:
        answers = tx.connection.execute(_USED, {"kind": job_type}).all()
        if answers:
            one = chance.rng().choice(answers)
            waiting += _ask(tx, one.seq, one.job_id, steady_now).waiting
    return tuple(waiting)


def _ask(tx: Tx, known: int, job_id: str, steady_now: float) -> Submitted:
    row: Any = tx.connection.execute(_JOB, {"job": job_id}).one()
    new = submissions.again(row)
    try:
        return submissions.submit(tx, row.account_id, [new], steady_now, known_answer=known)
    except (CreditsShortError, FileGoneError):  # raised before anything was written
        return Submitted(())

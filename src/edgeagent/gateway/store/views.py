"""Jobs as their submitter sees them, and the outputs of attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent.gateway.jobs import LATE_ATTEMPTS, OPEN_ATTEMPTS, OPEN_JOBS, AttemptState, JobState
from edgeagent.gateway.needs import Need
from edgeagent.gateway.store.submissions import New
from edgeagent.gateway.store.tables import attempt_logs, attempts, jobs, nodes, outputs
from edgeagent.gateway.store.writer import Tx

#: What a view shows of a job; its payload and its value can be large.
_COLUMNS = [one for one in jobs.c if one.name not in {"payload", "value", "inputs", "limits"}]
_JOBS = sa.select(*_COLUMNS).where(
    jobs.c.job_id.in_(sa.bindparam("jobs", expanding=True)), jobs.c.account_id == sa.bindparam("account")
)
_OWN_JOB = sa.select(*_COLUMNS, jobs.c.value).where(
    jobs.c.job_id == sa.bindparam("job"), jobs.c.account_id == sa.bindparam("account")
)
_PLACE = sa.select(jobs.c.seq, jobs.c.account_id).where(jobs.c.job_id == sa.bindparam("job"))
_ATTEMPTS = (
    sa.select(attempts, nodes.c.name)
    .join_from(attempts, nodes)
    .where(attempts.c.job_id.in_(sa.bindparam("jobs", expanding=True)))
    .order_by(attempts.c.seq)
)
_LINES = (
    sa.select(attempt_logs.c.attempt_id, attempt_logs.c.lines)
    .join_from(attempt_logs, attempts)
    .join(jobs)
    .where(jobs.c.job_id == sa.bindparam("job"), jobs.c.account_id == sa.bindparam("account"))
    .order_by(attempts.c.seq)
)
_OUTPUTS = sa.select(outputs).where(outputs.c.attempt_id == sa.bindparam("attempt"))


@attrs.frozen(kw_only=True)
class AttemptView:
    """One attempt of a job."""

    attempt_id: str
    node_id: str
    node_name: str
    state: str
    outcome: str | None
    detail: str
    credited_ucr: int
    usage: dict[str, Any]
    sandbox: dict[str, Any]


@attrs.frozen(kw_only=True)
class JobView:
    """A job with its attempts; times in seconds since the epoch, ``queued_s`` and ``running_s`` in seconds."""

    job_id: str
    account_id: str
    job_type: str
    state: JobState
    need: Need
    priority: int
    max_attempts: int
    deadline_s: float | None
    payload_ref: str | None
    requeue_of: str | None
    requeued_as: str | None
    price_ucr: int
    credited_ucr: int
    created_at: float
    finished_at: float | None
    queued_s: float
    running_s: float
    progress_fraction: float | None
    progress_text: str
    error: str | None
    current_attempt: str | None
    attempts: tuple[AttemptView, ...]


@attrs.frozen(order=True)
class OutputView:
    """A file that an attempt left; its bytes are there only where it is ``kept``."""

    name: str
    size_bytes: int
    sha256: str
    kept: bool


@attrs.frozen(kw_only=True)
class ResultView:
    """What a finished job gave back; ``outputs`` are those of the attempt that won."""

    job: JobView
    value: Any
    result_ref: str | None
    outputs: tuple[OutputView, ...]


def list_jobs(
    tx: Tx,
    account_id: str | None,
    *,
    state: str | None = None,
    job_type: str | None = None,
    before: str | None = None,
    limit: int,
) -> list[JobView]:
    """Return jobs of one account, or of all, newest first.

    Args:
        before: only jobs that are older than the one of this id.

    Raises:
        LookupError: the account has no job of the id ``before``.
    """
    wanted = sa.select(*_COLUMNS).order_by(jobs.c.seq.desc()).limit(limit)
    if account_id is not None:
        wanted = wanted.where(jobs.c.account_id == account_id)
    if before is not None:
        row = tx.connection.execute(_PLACE, {"job": before}).one_or_none()
        if row is None or account_id not in (None, row.account_id):
            raise LookupError(before)
        wanted = wanted.where(jobs.c.seq < row.seq)
    if state is not None:
        wanted = wanted.where(jobs.c.state == state)
    if job_type is not None:
        wanted = wanted.where(jobs.c.job_type == job_type)
    return _views(tx, tx.connection.execute(wanted).all())


def show(tx: Tx, account_id: str, job_id: str) -> JobView | None:
    """Return one of an account's jobs."""
    return next(iter(_views(tx, _own(tx, account_id, job_id))), None)


def show_all(tx: Tx, account_id: str, job_ids: Sequence[str]) -> list[JobView]:
    """Return those of an account's jobs, in this order."""
    rows = {row.job_id: row for row in tx.connection.execute(_JOBS, {"jobs": job_ids, "account": account_id})}
    return _views(tx, [rows[job_id] for job_id in job_ids if job_id in rows])


def fresh(new: New, price_ucr: int, now: float) -> JobView:
    """Return a job as it is in the moment it was submitted, without a look at what was just written."""
    return JobView(
        job_id=new.job_id,
        account_id=new.account_id,
        job_type=new.job_type,
        state=JobState.QUEUED,
        need=new.need,
        priority=new.priority,
        max_attempts=new.max_attempts,
        deadline_s=new.deadline_s,
        payload_ref=new.payload_ref,
        requeue_of=None,
        requeued_as=None,
        price_ucr=price_ucr,
        credited_ucr=0,
        created_at=now,
        finished_at=None,
        queued_s=0.0,
        running_s=0.0,
        progress_fraction=None,
        progress_text="",
        error=None,
        current_attempt=None,
        attempts=(),
    )


def lines(tx: Tx, account_id: str, job_id: str) -> list[tuple[str, list[str]]]:
    """Return the last lines that the ended attempts of one of an account's jobs printed, by attempt."""
    wanted = {"job": job_id, "account": account_id}
    return [(row.attempt_id, orjson.loads(row.lines)) for row in tx.connection.execute(_LINES, wanted)]


def dead_letters(tx: Tx, account_id: str | None = None, *, limit: int) -> list[JobView]:
    """Return FAILED jobs that were not queued again, newest first, of one account or of all."""
    wanted = sa.select(*_COLUMNS).where(jobs.c.state == JobState.FAILED.value, jobs.c.requeued_as.is_(None))
    if account_id is not None:
        wanted = wanted.where(jobs.c.account_id == account_id)
    return _views(tx, tx.connection.execute(wanted.order_by(jobs.c.seq.desc()).limit(limit)).all())


def result(tx: Tx, account_id: str, job_id: str) -> ResultView | None:
    """Return what one of an account's jobs gave back, ended or not."""
    rows = _own(tx, account_id, job_id)
    if not rows:
        return None
    row, job = rows[0], _views(tx, rows)[0]
    files: list[OutputView] = []
    if job.state is JobState.COMPLETED:
        found = tx.connection.execute(_OUTPUTS, {"attempt": row.current_attempt})
        # Sorted here: each database sorts by its own rules.
        files = sorted(OutputView(one.name, one.size_bytes, one.sha256, one.removed_at is None) for one in found)
    value = None if row.value is None else orjson.loads(row.value)
    return ResultView(job=job, value=value, result_ref=row.result_ref, outputs=tuple(files))


def reference(tx: Tx, attempt_id: str, node_id: str, name: str | None) -> str | None:
    """Return where an input of the attempt's job lies, or, without a name, its payload; None where there is none.

    None too where the node does not hold the attempt open.
    """
    found = (
        sa.select(jobs.c.inputs, jobs.c.payload_ref)
        .join_from(attempts, jobs)
        .where(
            attempts.c.attempt_id == attempt_id,
            attempts.c.node_id == node_id,
            attempts.c.state.in_([state.value for state in OPEN_ATTEMPTS]),
        )
    )
    row = tx.connection.execute(found).one_or_none()
    if row is None or name is None:
        return None if row is None else row.payload_ref
    ref: str | None = orjson.loads(row.inputs).get(name, {}).get("ref")
    return ref


def writes_outputs(tx: Tx, attempt_id: str, node_id: str) -> bool:
    """Return whether the node has this attempt and its outputs can still matter."""
    states = [state.value for state in (*OPEN_ATTEMPTS, *LATE_ATTEMPTS)]
    found = (
        sa.select(attempts.c.attempt_id)
        .join_from(attempts, jobs)
        .where(
            attempts.c.attempt_id == attempt_id,
            attempts.c.node_id == node_id,
            attempts.c.state.in_(states),
            jobs.c.state.in_([state.value for state in OPEN_JOBS]),
        )
    )
    return tx.connection.execute(found).first() is not None


def add_output(tx: Tx, attempt_id: str, name: str, size_bytes: int, sha256: str) -> str | None:
    """Store that a file of an attempt has arrived, in place of one of the same name; return the other's digest."""
    same = (outputs.c.attempt_id == attempt_id, outputs.c.name == name)
    before: str | None = tx.connection.scalar(sa.select(outputs.c.sha256).where(*same))
    values = {"size_bytes": size_bytes, "sha256": sha256, "listed": False, "created_at": tx.now, "removed_at": None}
    if before is None:
        tx.connection.execute(sa.insert(outputs).values(attempt_id=attempt_id, name=name, **values))
    else:
        tx.connection.execute(sa.update(outputs).where(*same).values(**values))
    return None if before == sha256 else before


def _own(tx: Tx, account_id: str, job_id: str) -> Sequence[Any]:
    return tx.connection.execute(_OWN_JOB, {"job": job_id, "account": account_id}).all()


def _views(tx: Tx, rows: Sequence[Any]) -> list[JobView]:
    tries: dict[str, list[AttemptView]] = {row.job_id: [] for row in rows}
    price_ucr = {row.job_id: row.price_ucr for row in rows}
    for one in tx.connection.execute(_ATTEMPTS, {"jobs": list(tries)}):
        tries[one.job_id].append(
            AttemptView(
                attempt_id=one.attempt_id,
                node_id=one.node_id,
                node_name=one.name,
                state=one.state,
                outcome=one.outcome,
                detail=one.detail,
                credited_ucr=price_ucr[one.job_id] if one.state == AttemptState.COMPLETED.value else 0,
                usage=orjson.loads(one.usage),
                sandbox=orjson.loads(one.sandbox),
            )
        )
    return [_view(row, tuple(tries[row.job_id]), tx.now) for row in rows]


def _view(row: sa.Row[Any], tries: tuple[AttemptView, ...], now: float) -> JobView:
    end = now if row.finished_at is None else row.finished_at
    start = end if row.started_at is None else row.started_at
    return JobView(
        job_id=row.job_id,
        account_id=row.account_id,
        job_type=row.job_type,
        state=JobState(row.state),
        need=Need.parse(row.need),
        priority=row.priority,
        max_attempts=row.max_attempts,
        deadline_s=row.deadline_s,
        payload_ref=row.payload_ref,
        requeue_of=row.requeue_of,
        requeued_as=row.requeued_as,
        price_ucr=row.price_ucr,
        credited_ucr=row.credited_ucr,
        created_at=row.created_at,
        finished_at=row.finished_at,
        # A clock that was set back must not show negative times.
        queued_s=max(0.0, start - row.created_at),
        running_s=max(0.0, end - start),
        progress_fraction=row.progress_fraction,
        progress_text=row.progress_text,
        error=row.error,
        current_attempt=row.current_attempt,
        attempts=tries,
    )

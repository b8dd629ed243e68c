"""Files of accounts, what they count against, and which files anything still refers to."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs
import sqlalchemy as sa

from edgeagent.gateway.jobs import OPEN_JOBS, JobState
from edgeagent.gateway.store.tables import attempts, files, job_files, jobs, outputs, uploads
from edgeagent.gateway.store.writer import Tx

_OPEN = [state.value for state in OPEN_JOBS]
#: Most files whose references are looked at in one statement, or that one sweep marks.
BATCH = 500

_HELD = sa.select(files.c.sha256, files.c.size_bytes).where(
    files.c.sha256.in_(sa.bindparam("digests", expanding=True)),
    files.c.account_id == sa.bindparam("account"),
    files.c.released_at.is_(None),
)
_LEFT = (
    sa.select(outputs.c.sha256, outputs.c.size_bytes)
    .join_from(outputs, attempts)
    .join(jobs)
    .where(
        outputs.c.sha256.in_(sa.bindparam("digests", expanding=True)),
        outputs.c.removed_at.is_(None),
        jobs.c.account_id == sa.bindparam("account"),
        jobs.c.state == JobState.COMPLETED.value,
        jobs.c.current_attempt == attempts.c.attempt_id,
    )
)
_NEEDED = (
    sa.select(job_files.c.sha256)
    .join_from(job_files, jobs)
    .where(job_files.c.sha256.in_(sa.bindparam("digests", expanding=True)), jobs.c.state.in_(_OPEN))
)


@attrs.frozen(kw_only=True)
class File:
    """A file that an account has uploaded; ``created_at`` in seconds since the epoch on the gateway's clock."""

    seq: int
    sha256: str
    name: str
    size_bytes: int
    created_at: float


@attrs.frozen(kw_only=True)
class Usage:
    """What an account stores."""

    files: int
    stored_bytes: int
    uploads: int
    uploading_bytes: int

    def left(self, quota_bytes: int) -> int:
        """Return how many bytes the account may still store."""
        return max(0, quota_bytes - self.stored_bytes - self.uploading_bytes)


def usage(tx: Tx, account_id: str) -> Usage:
    """Return what an account stores: its files, those too that only its open jobs hold, and its open uploads."""
    stored = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(files.c.size_bytes), 0))
    coming = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(uploads.c.length_bytes), 0))
    number, stored_bytes = tx.connection.execute(stored.where(files.c.account_id == account_id)).one()
    open_now = (uploads.c.account_id == account_id, uploads.c.finished_at.is_(None), uploads.c.expires_at > tx.now)
    uploading, uploading_bytes = tx.connection.execute(coming.where(*open_now)).one()
    return Usage(
        files=number,
        stored_bytes=int(stored_bytes),  # PostgreSQL's sum of whole numbers is a decimal
        uploads=uploading,
        uploading_bytes=int(uploading_bytes),
    )


def held(tx: Tx, account_id: str, digests: Collection[str]) -> dict[str, int]:
    """Return the sizes of those files that an account may refer to: its own, and what its completed jobs have left."""
    found: dict[str, int] = {}
    every = sorted(digests)
    for start in range(0, len(every), BATCH):  # a statement has room for so many parameters
        wanted = {"digests": every[start : start + BATCH], "account": account_id}
        for query in (_LEFT, _HELD):
            found |= {row.sha256: row.size_bytes for row in tx.connection.execute(query, wanted)}
    return found


def size_of(tx: Tx, sha256: str) -> int | None:
    """Return the size of a file that an account, or an attempt, has or had; None where nobody did."""
    for table in (files, outputs):
        size = tx.connection.scalar(sa.select(table.c.size_bytes).where(table.c.sha256 == sha256).limit(1))
        if size is not None:
            return int(size)
    return None


def add(tx: Tx, account_id: str, sha256: str, name: str, size_bytes: int) -> None:
    """Store that an account has a file, whose bytes are kept by now; again is harmless."""
    own = (files.c.account_id == account_id, files.c.sha256 == sha256)
    if not tx.connection.execute(sa.update(files).where(*own).values(released_at=None, name=name)).rowcount:
        tx.connection.execute(
            sa.insert(files).values(
                account_id=account_id, sha256=sha256, name=name, size_bytes=size_bytes, created_at=tx.now
            )
        )


def find(tx: Tx, account_id: str, sha256: str) -> File | None:
    """Return a file of an account."""
    own = (files.c.account_id == account_id, files.c.sha256 == sha256, files.c.released_at.is_(None))
    row = tx.connection.execute(sa.select(files).where(*own)).one_or_none()
    return None if row is None else _file(row)


def of_account(tx: Tx, account_id: str, *, before: int | None, limit: int) -> list[File]:
    """Return files of an account, newest first; only those whose ``seq`` is below ``before``."""
    wanted = sa.select(files).where(files.c.account_id == account_id, files.c.released_at.is_(None))
    if before is not None:
        wanted = wanted.where(files.c.seq < before)
    return [_file(row) for row in tx.connection.execute(wanted.order_by(files.c.seq.desc()).limit(limit))]


def release(tx: Tx, account_id: str, sha256: str) -> None:
    """Let go of an account's file; it counts and is kept while an open job of the account refers to it.

    Raises:
        LookupError: the account has no such file.
    """
    own = (files.c.account_id == account_id, files.c.sha256 == sha256, files.c.released_at.is_(None))
    if not tx.connection.execute(sa.update(files).where(*own).values(released_at=tx.now)).rowcount:
        raise LookupError(sha256)
    forget_released(tx, account_id)


def forget_released(tx: Tx, account_id: str | None = None) -> None:
    """Remove the files that accounts, or one account, let go of and no open job of theirs refers to."""
    needed = (
        sa.select(job_files.c.job_id)
        .join_from(job_files, jobs)
        .where(job_files.c.sha256 == files.c.sha256, jobs.c.account_id == files.c.account_id, jobs.c.state.in_(_OPEN))
    )
    gone = sa.delete(files).where(files.c.released_at.is_not(None), ~needed.exists())
    tx.connection.execute(gone if account_id is None else gone.where(files.c.account_id == account_id))


def refer(tx: Tx, refs: Sequence[tuple[str, str]]) -> None:
    """Store which jobs refer to which files: pairs of a job's id and a digest."""
    if refs:
        tx.connection.execute(
            sa.insert(job_files), [{"job_id": job_id, "sha256": digest} for job_id, digest in sorted(set(refs))]
        )


def referenced(tx: Tx, digests: Collection[str]) -> set[str]:
    """Return those of the files that anything refers to: an account, an output that is kept, an open job."""
    wanted = list(digests)
    found = set(tx.connection.scalars(_NEEDED, {"digests": wanted}))
    found.update(tx.connection.scalars(sa.select(files.c.sha256).where(files.c.sha256.in_(wanted))))
    kept = outputs.c.removed_at.is_(None)
    found.update(tx.connection.scalars(sa.select(outputs.c.sha256).where(outputs.c.sha256.in_(wanted), kept)))
    return found


def outputs_to_remove(tx: Tx, keep_s: float) -> list[tuple[str, str]]:
    """Return attempts and names of outputs that nobody can fetch any more, or that were kept for ``keep_s`` seconds."""
    winner = sa.and_(
        jobs.c.state == JobState.COMPLETED.value,
        jobs.c.current_attempt == attempts.c.attempt_id,
        jobs.c.finished_at > tx.now - keep_s,
    )
    wanted = (
        sa.select(outputs.c.attempt_id, outputs.c.name)
        .join_from(outputs, attempts)
        .join(jobs)
        .where(outputs.c.removed_at.is_(None), jobs.c.state.not_in(_OPEN), ~winner)
        .order_by(outputs.c.attempt_id, outputs.c.name)
        .limit(BATCH)
    )
    return [(row.attempt_id, row.name) for row in tx.connection.execute(wanted)]


def remove_outputs(tx: Tx, found: Sequence[tuple[str, str]]) -> None:
    """Store that the bytes of these outputs are kept no more; their rows stay, with the job."""
    one = (outputs.c.attempt_id == sa.bindparam("attempt"), outputs.c.name == sa.bindparam("called"))
    tx.connection.execute(
        sa.update(outputs).where(*one).values(removed_at=tx.now),
        [{"attempt": attempt_id, "called": name} for attempt_id, name in found],
    )


def _file(row: sa.Row[tuple[object, ...]]) -> File:
    return File(seq=row.seq, sha256=row.sha256, name=row.name, size_bytes=row.size_bytes, created_at=row.created_at)

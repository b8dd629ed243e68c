"""Uploads: whose they are, how far they are on disk, and what they become when they are complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent.gateway.store import files, views
from edgeagent.gateway.store.tables import attempts, jobs, outputs, uploads
from edgeagent.gateway.store.writer import Tx

#: Seconds that an upload is kept from the last byte that came.
LIFE_S = 86400.0
#: Seconds that a complete one is remembered, for a client that did not hear so.
FINISHED_S = 3600.0
#: Open uploads of an account, and of an attempt; files of an account.
MAX_OF_ACCOUNT, MAX_OF_ATTEMPT, MAX_FILES = 64, 16, 100_000
#: What all outputs of an attempt may have, in bytes, where its scratch is not larger.
OUTPUTS_BYTES = 256 << 20

_FIND = sa.select(uploads).where(uploads.c.upload_id == sa.bindparam("upload"))


class TooManyUploadsError(Exception):
    """No more uploads at once; the text says how many there may be."""


class NoRoomError(Exception):
    """The file is larger than what is left; the text says how much that is."""


class OtherSizeError(Exception):
    """A file of this digest is known, and has another size."""


@attrs.frozen
class Owner:
    """Whose an upload is: an account's, or an attempt's with the node that holds it."""

    account_id: str | None = None
    attempt_id: str | None = None
    node_id: str | None = None


@attrs.frozen(kw_only=True)
class Upload:
    """An upload; ``offset`` bytes of it are safely on disk.

    One that begins or finishes says what it took the place of, which nothing of its attempt refers to any more.
    """

    upload_id: str
    owner: Owner
    name: str
    sha256: str
    length: int
    offset: int = 0
    metadata: str = ""
    expires_at: float = 0.0
    finished: bool = False
    overtaken: tuple[str, ...] = ()  # earlier uploads of the same output
    replaced: str | None = None  # the digest of the same output as it was


def begin(tx: Tx, new: Upload, quota_bytes: int) -> Upload:
    """Store an upload, and return it; it is complete at once where its owner has the very file already.

    Args:
        quota_bytes: what an account may store.

    Raises:
        LookupError: the node does not hold the attempt, or its job has ended.
        TooManyUploadsError: see there.
        NoRoomError: see there.
        OtherSizeError: see there.
    """
    known = _known(tx, new)
    if known is not None and known != new.length:
        raise OtherSizeError
    overtaken: tuple[str, ...] = ()
    if new.owner.account_id is not None:
        _check_quota(tx, new, quota_bytes, known is not None)
    else:
        overtaken = _overtake(tx, new)
        _check_attempt(tx, new)
    stored = attrs.evolve(new, expires_at=tx.now + LIFE_S, overtaken=overtaken)
    tx.connection.execute(
        sa.insert(uploads).values(
            upload_id=stored.upload_id,
            account_id=stored.owner.account_id,
            attempt_id=stored.owner.attempt_id,
            name=stored.name,
            sha256=stored.sha256,
            length_bytes=stored.length,
            offset_bytes=0,
            metadata=stored.metadata,
            created_at=tx.now,
            expires_at=stored.expires_at,
        )
    )
    return stored if known is None else finish(tx, stored)


def find(tx: Tx, upload_id: str, owner: Owner) -> tuple[Upload, bool] | None:
    """Return an upload of this owner, and whether its time is over; None where it has no such."""
    row = tx.connection.execute(_FIND, {"upload": upload_id}).one_or_none()
    if row is None or (row.account_id, row.attempt_id) != (owner.account_id, owner.attempt_id):
        return None
    if owner.attempt_id is not None and not _holds(tx, owner):
        return None
    return _upload(row, owner), row.finished_at is None and row.expires_at <= tx.now


def moved(tx: Tx, upload_id: str, offset: int) -> float:
    """Store how far an upload is on disk; return until when it is kept."""
    expires_at = tx.now + LIFE_S
    tx.connection.execute(_of(upload_id).values(offset_bytes=offset, expires_at=expires_at))
    return expires_at


def finish(tx: Tx, upload: Upload) -> Upload:
    """Store what a complete upload is: a file of its account, or an output of its attempt.

    Raises:
        LookupError: the node does not hold the attempt any more, or its job has ended.
    """
    if upload.owner.account_id is not None:
        files.add(tx, upload.owner.account_id, upload.sha256, upload.name, upload.length)
    else:
        assert upload.owner.attempt_id is not None
        if not _holds(tx, upload.owner):
            raise LookupError(upload.owner.attempt_id)
        replaced = views.add_output(tx, upload.owner.attempt_id, upload.name, upload.length, upload.sha256)
        upload = attrs.evolve(upload, replaced=replaced)
    until = tx.now + FINISHED_S
    done = _of(upload.upload_id).values(offset_bytes=upload.length, finished_at=tx.now, expires_at=until)
    tx.connection.execute(done)
    return attrs.evolve(upload, offset=upload.length, finished=True, expires_at=until)


def forget(tx: Tx, upload_id: str) -> None:
    """Remove an upload."""
    tx.connection.execute(sa.delete(uploads).where(uploads.c.upload_id == upload_id))


def forget_old(tx: Tx) -> None:
    """Remove what has ended long enough ago: complete uploads, and those that expired a day ago, which answer 410."""
    tx.connection.execute(
        sa.delete(uploads).where(
            uploads.c.expires_at < tx.now - sa.case((uploads.c.finished_at.is_(None), LIFE_S), else_=0.0)
        )
    )


def going_on(tx: Tx, upload_ids: Sequence[str]) -> set[str]:
    """Return which of these are uploads in progress."""
    wanted = sa.select(uploads.c.upload_id).where(
        uploads.c.upload_id.in_(upload_ids), uploads.c.finished_at.is_(None), uploads.c.expires_at > tx.now
    )
    return set(tx.connection.scalars(wanted))


def of_account(tx: Tx, account_id: str) -> list[Upload]:
    """Return the uploads of an account that are in progress, oldest first."""
    own = (uploads.c.account_id == account_id, uploads.c.finished_at.is_(None), uploads.c.expires_at > tx.now)
    rows = tx.connection.execute(sa.select(uploads).where(*own).order_by(uploads.c.created_at, uploads.c.upload_id))
    return [_upload(row, Owner(account_id=account_id)) for row in rows]


def count_open(tx: Tx) -> int:
    """Return how many uploads are in progress."""
    counted = sa.select(sa.func.count()).select_from(uploads)
    return tx.connection.scalar(counted.where(uploads.c.finished_at.is_(None), uploads.c.expires_at > tx.now)) or 0


def _known(tx: Tx, new: Upload) -> int | None:
    """Return the size of the file where the owner, and nobody else, has given it before."""
    if new.owner.account_id is not None:
        return files.held(tx, new.owner.account_id, [new.sha256]).get(new.sha256)
    same = (outputs.c.attempt_id == new.owner.attempt_id, outputs.c.name == new.name, outputs.c.sha256 == new.sha256)
    return tx.connection.scalar(sa.select(outputs.c.size_bytes).where(*same))


def _check_quota(tx: Tx, new: Upload, quota_bytes: int, known: bool) -> None:
    assert new.owner.account_id is not None
    used = files.usage(tx, new.owner.account_id)
    if used.uploads >= MAX_OF_ACCOUNT and not known:
        raise TooManyUploadsError(f"at most {MAX_OF_ACCOUNT} uploads at once; finish or delete some")
    if known and files.find(tx, new.owner.account_id, new.sha256) is not None:
        return
    left = used.left(quota_bytes)
    if new.length > left:
        raise NoRoomError(f"{left} of the {quota_bytes} bytes of your quota are left; delete files")
    if used.files >= MAX_FILES:
        raise NoRoomError(f"an account has at most {MAX_FILES} files; delete some")


def _overtake(tx: Tx, new: Upload) -> tuple[str, ...]:
    """Have one upload for each output: of an older one its node may never have heard, where the answer was lost."""
    if not _holds(tx, new.owner):
        raise LookupError(new.owner.attempt_id)
    same = (uploads.c.attempt_id == new.owner.attempt_id, uploads.c.name == new.name, uploads.c.finished_at.is_(None))
    older = tuple(tx.connection.scalars(sa.select(uploads.c.upload_id).where(*same).order_by(uploads.c.upload_id)))
    tx.connection.execute(sa.delete(uploads).where(*same))
    return older


def _check_attempt(tx: Tx, new: Upload) -> None:
    attempt_id = new.owner.attempt_id
    coming = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(uploads.c.length_bytes), 0)).where(
        uploads.c.attempt_id == attempt_id, uploads.c.finished_at.is_(None), uploads.c.expires_at > tx.now
    )
    number, coming_bytes = tx.connection.execute(coming).one()
    if number >= MAX_OF_ATTEMPT:
        raise TooManyUploadsError(f"at most {MAX_OF_ATTEMPT} uploads of an attempt at once; finish or delete some")
    others = (outputs.c.attempt_id == attempt_id, outputs.c.name != new.name)
    there = tx.connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(outputs.c.size_bytes), 0)).where(*others))
    limits = tx.connection.scalar(
        sa.select(jobs.c.limits).join_from(attempts, jobs).where(attempts.c.attempt_id == attempt_id)
    )
    most = max(OUTPUTS_BYTES, orjson.loads(limits or "{}").get("scratch_bytes", 0))
    left = max(0, most - int(there or 0) - int(coming_bytes))
    if new.length > left:
        raise NoRoomError(f"an attempt's outputs have at most {most} bytes together, and {left} are left")


def _holds(tx: Tx, owner: Owner) -> bool:
    assert owner.attempt_id is not None
    assert owner.node_id is not None
    return views.writes_outputs(tx, owner.attempt_id, owner.node_id)


def _of(upload_id: str) -> sa.Update:
    return sa.update(uploads).where(uploads.c.upload_id == upload_id)


def _upload(row: sa.Row[Any], owner: Owner) -> Upload:
    return Upload(
        upload_id=row.upload_id,
        owner=owner,
        name=row.name,
        sha256=row.sha256,
        length=row.length_bytes,
        offset=row.offset_bytes,
        metadata=row.metadata,
        expires_at=row.expires_at,
        finished=row.finished_at is not None,
    )

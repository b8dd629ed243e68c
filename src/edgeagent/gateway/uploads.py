"""Uploads that can be resumed: pieces go to a local file, and a complete one, its digest checked, becomes a blob.

The database says how far an upload is safely on disk, which is what its client is told; a crash takes what came since.
One request at a time has an upload: a newer one ends the older, whose connection is most likely dead.  A file is kept
before the row that names it is written, and nobody collects it in between: both happen under the digest's lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from edgeagent.gateway import tus
from edgeagent.gateway.arriving import Arriving, TooLongError
from edgeagent.gateway.blobs import Blobs
from edgeagent.gateway.blocking import BlobsUnavailableError, directory_there
from edgeagent.gateway.locks import Locks
from edgeagent.gateway.parts import Part, Parts
from edgeagent.gateway.store import Store, StoreUnavailableError, uploads
from edgeagent.gateway.store.uploads import Owner, Upload

#: What a crash of the gateway may take of an upload that goes on without a break: so many bytes, or seconds.
SYNC_BYTES, SYNC_S = 64 << 20, 5.0


class NoUploadError(Exception):
    """The owner has no such upload (any more)."""


class ExpiredError(Exception):
    """The upload was left alone for too long."""


class TakenOverError(Exception):
    """A newer request has the upload now."""


class OffsetError(Exception):
    """A piece does not begin where the upload stands; ``offset`` is where that is."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"Upload-Offset: the upload stands at {offset}")
        self.offset = offset


class DigestError(Exception):
    """The file is not what was announced, and is gone; the text says what arrived."""


@attrs.define(eq=False)
class _Turn:
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: trio.Event = attrs.field(factory=trio.Event)


class Uploads:
    """All uploads in progress of one gateway.

    Args:
        quota_bytes: what an account may store.
    """

    def __init__(self, store: Store, blobs: Blobs, directory: Path, quota_bytes: int) -> None:
        self.parts = Parts(directory)
        self.locks = Locks()  # by digest: held where a blob comes to be named, and where it is removed
        self.received_bytes = 0
        self._store, self._blobs, self._quota_bytes = store, blobs, quota_bytes
        self._run = blobs.blocking.run
        self._turns: dict[str, _Turn] = {}
        self._known: dict[str, Part] = {}  # for the hashes of what has arrived

    def active(self, upload_id: str) -> bool:
        """Return whether a request has this upload at this moment."""
        return upload_id in self._turns

    async def begin(self, new: Upload) -> Upload:
        """Store a new upload, and return it.  Raises what ``store.uploads.begin`` does, and as ``append``."""
        upload = await self._store.write(uploads.begin, new, self._quota_bytes)
        for older in upload.overtaken:
            async with self._turn(older):
                await self._discard(older)
        if upload.length == 0 and not upload.finished:
            async with self._turn(upload.upload_id):
                return await self._finish(upload, await self._open(upload))
        return upload

    async def show(self, upload_id: str, owner: Owner) -> Upload:
        """Return an upload as it stands, after what was still coming in.

        Raises:
            NoUploadError: see there.
            ExpiredError: see there.
        """
        async with self._having(upload_id, owner) as upload:
            return upload

    async def append(
        self,
        upload_id: str,
        owner: Owner,
        offset: int,
        pieces: AsyncIterator[bytes],
        checksum: tus.Checksum | None,
        announced: int | None = None,
    ) -> Upload:
        """Store what ``pieces`` yield, from ``offset`` on, and return the upload as it stands then.

        What came before ``pieces`` raised something, or before the caller was cancelled, is stored, unless it has a
        checksum.

        Args:
            announced: how many bytes ``pieces`` are to have, where that is known.

        Raises:
            NoUploadError: see there, and for the others.
            ExpiredError, TakenOverError, OffsetError, ChecksumError, DigestError, TooLongError:
            LookupError: the node does not hold the attempt any more, or its job has ended.
            BlobsUnavailableError: it cannot be stored now.
        """
        async with self._having(upload_id, owner) as upload:
            if upload.finished:  # it counts no more, so nothing may come to lie on disk for it
                if offset != upload.length:
                    raise OffsetError(upload.length)
                return upload
            part = await self._open(upload)
            if part.size != upload.offset:  # a copy of the database was restored without the uploads in progress
                await self._store.write(uploads.moved, upload_id, part.size)
            if offset != part.size or offset + (announced or 0) > upload.length:
                await self._run(part.close)
                raise OffsetError(part.size) if offset != part.size else TooLongError
            return await self._take(attrs.evolve(upload, offset=part.size), part, pieces, checksum)

    async def end(self, upload_id: str, owner: Owner) -> None:
        """Forget an upload.  Raises as ``show``."""
        async with self._having(upload_id, owner) as upload:
            await self._store.write(uploads.forget, upload.upload_id)
            await self._discard(upload.upload_id)

    async def tidy(self) -> None:
        """Remove what has expired, and files that no upload in progress has."""
        await self._store.write(uploads.forget_old)
        there = await self._run(self.parts.there)
        for start in range(0, len(there), 500):
            names = there[start : start + 500]
            wanted = await self._store.read(uploads.going_on, names)
            for name in names:
                if name.partition(".")[0] not in wanted and name.partition(".")[0] not in self._turns:
                    await self._discard(name)

    async def _find(self, upload_id: str, owner: Owner) -> Upload:
        found = await self._store.read(uploads.find, upload_id, owner)
        if found is None:
            raise NoUploadError
        upload, expired = found
        if expired:
            raise ExpiredError
        return upload

    async def _open(self, upload: Upload) -> Part:
        part = self._known.get(upload.upload_id)
        if part is None:
            part = self._known[upload.upload_id] = Part(self.parts.path(upload.upload_id), upload.offset)
        part.size = upload.offset
        with directory_there():
            await self._run(part.open)
        return part

    async def _take(
        self, upload: Upload, part: Part, pieces: AsyncIterator[bytes], checksum: tus.Checksum | None
    ) -> Upload:
        finished: Upload | None = None
        arriving = Arriving(part, upload.length, checksum, self._blobs.blocking)
        try:
            synced = trio.current_time()
            async for piece in pieces:
                await arriving.add(piece)
                due = part.size - upload.offset >= SYNC_BYTES or trio.current_time() - synced >= SYNC_S
                if due and checksum is None and part.size < upload.length:
                    upload, synced = await self._moved(upload, part), trio.current_time()
            await arriving.flush()
            arriving.check()
            checksum = None
            if part.size == upload.length:
                finished = await self._finish(upload, part)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._settle(upload, arriving, keep=checksum is None)
            raise
        finally:
            self.received_bytes += arriving.taken
        if finished is None:
            finished = await self._moved(upload, part)
            await self._run(part.close)
        return finished

    async def _settle(self, upload: Upload, arriving: Arriving, *, keep: bool) -> None:
        """Store what has arrived before something went wrong; what cannot be stored comes again."""
        part = arriving.part
        with contextlib.suppress(BlobsUnavailableError, StoreUnavailableError):
            if part.is_open:
                if not keep:
                    await self._run(part.cut, arriving.start)
                else:
                    await arriving.flush()
                    if upload.offset < part.size < upload.length:
                        await self._moved(upload, part)
        await self._run(part.close)

    async def _moved(self, upload: Upload, part: Part) -> Upload:
        await self._run(part.sync)
        expires_at = await self._store.write(uploads.moved, upload.upload_id, part.size)
        return attrs.evolve(upload, offset=part.size, expires_at=expires_at)

    async def _finish(self, upload: Upload, part: Part) -> Upload:
        digest = await self._run(part.sha256)
        if digest != upload.sha256:
            await self._store.write(uploads.forget, upload.upload_id)
            await self._discard(upload.upload_id)
            raise DigestError(f"the digest of what arrived is {digest}, not the sha256 announced; begin again")
        with trio.CancelScope(shield=True):  # from here on it takes a moment, and the client has sent all it has
            await self._run(part.sync)
            async with self.locks.hold(upload.sha256):
                await self._blobs.keep(part.path, upload.sha256)
                upload = await self._store.write(uploads.finish, upload)
            await self._discard(upload.upload_id)
        return upload

    async def _discard(self, upload_id: str) -> None:
        part = self._known.pop(upload_id, None)
        if part is not None:
            await self._run(part.close)
        await self._run(self.parts.discard, upload_id)

    @asynccontextmanager
    async def _having(self, upload_id: str, owner: Owner) -> AsyncIterator[Upload]:
        """Have an upload for one request of its owner; a stranger's would not even end one that has it."""
        if self.active(upload_id):
            await self._find(upload_id, owner)
        async with self._turn(upload_id):
            yield await self._find(upload_id, owner)

    @asynccontextmanager
    async def _turn(self, upload_id: str) -> AsyncIterator[None]:
        while (older := self._turns.get(upload_id)) is not None:
            older.scope.cancel(reason="a newer request has the upload")
            await older.over.wait()
        mine = self._turns[upload_id] = _Turn()
        try:
            with mine.scope:
                yield
        finally:
            del self._turns[upload_id]
            mine.over.set()
        if mine.scope.cancelled_caught:
            raise TakenOverError

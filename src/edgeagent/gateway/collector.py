"""Removes what nothing refers to any more: outputs past their time, expired uploads, files that nobody names.

Safe beside everything else.  A file comes to be named under its digest's lock (``uploads``), or in one transaction with
a look at what names it already; here it is looked up under the same lock before it is removed.  While a backup copies
files, none is removed: the backup's database may still name them.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from edgeagent.gateway.blobs import Blobs
from edgeagent.gateway.blocking import directory_there
from edgeagent.gateway.store import Store, files
from edgeagent.gateway.uploads import Uploads

log = structlog.get_logger()


class Collector:
    """Keeps the files of one gateway down to what is needed.

    Args:
        keep_outputs_s: seconds that the files of a completed job are kept.
    """

    def __init__(self, store: Store, blobs: Blobs, uploads: Uploads, keep_outputs_s: float) -> None:
        self._store, self._blobs, self._uploads, self._keep_outputs_s = store, blobs, uploads, keep_outputs_s
        #: Bytes of the files and how many they were, when it was last looked.
        self.stored_bytes = self.stored_files = 0

    async def sweep(self) -> None:
        """Remove all that is due.

        Raises:
            StoreUnavailableError, BlobsUnavailableError: not everything; the next sweep goes on.
        """
        with directory_there():
            await self._sweep()

    async def _sweep(self) -> None:
        while found := await self._store.read(files.outputs_to_remove, self._keep_outputs_s):
            await self._store.write(files.remove_outputs, found)
        await self._store.write(files.forget_released)
        await self._uploads.tidy()
        removed = stored_bytes = stored_files = 0
        for page in await self._blobs.pages():
            named = await self._store.read(files.referenced, [blob.sha256 for blob in page])
            gone = await self.remove(blob.sha256 for blob in page if blob.sha256 not in named)
            left = [blob for blob in page if blob.sha256 not in gone]
            removed += len(gone)
            stored_files += len(left)
            stored_bytes += sum(blob.size_bytes for blob in left)
        self.stored_bytes, self.stored_files = stored_bytes, stored_files
        if removed:
            log.info("Files removed that nothing refers to", files=removed)

    async def remove(self, digests: Iterable[str]) -> set[str]:
        """Remove those of the files that nothing refers to, and return them; none while a backup is made.

        Raises:
            StoreUnavailableError, BlobsUnavailableError: not all of them.
        """
        gone: set[str] = set()
        with directory_there(), self._blobs.collecting() as alone:
            for digest in digests if alone else ():
                async with self._uploads.locks.hold(digest):
                    if not await self._store.read(files.referenced, [digest]):
                        await self._blobs.remove(digest)
                        gone.add(digest)
        return gone

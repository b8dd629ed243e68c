"""Files by their SHA-256: what the gateway needs of whatever keeps them, and local files, which are under obstore.

``Blobs`` is the seam at which an object store takes the place of a directory.  obstore's asynchronous calls need
asyncio, so its synchronous ones run in threads, and no file is ever in memory as a whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import attrs
import obstore
from obstore.store import LocalStore

from edgeagent.gateway.blocking import PIECE_BYTES, Blocking

_FILES = "sha256"
#: What a backup holds shared while it copies, and a collection alone; see ``gateway.backup``.
LOCK = "collect.lock"


@attrs.frozen
class Blob:
    """A stored file."""

    sha256: str
    size_bytes: int


class Blobs(Protocol):
    """What keeps a gateway's files.  All but ``keep`` raise ``BlobsUnavailableError`` while that cannot be reached."""

    blocking: Blocking

    async def keep(self, part: Path, sha256: str) -> None:
        """Keep a local file, whose digest was checked, from now on; ``part`` stays where it is.

        Raises:
            BlobsUnavailableError: it is not kept.
        """

    def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes of a file from ``start`` up to but not including ``end``, in pieces.

        Raises:
            FileNotFoundError: there is no such file.
        """
        ...

    async def pages(self) -> list[list[Blob]]:
        """Return all files, in lists of at most some hundred, in the same order each time."""
        ...

    async def remove(self, sha256: str) -> None:
        """Remove a file; harmless where there is none."""

    def collecting(self) -> contextlib.AbstractContextManager[bool]:
        """Let nobody copy the files while this is open; gives False where somebody does."""
        ...


class LocalBlobs:
    """Files in a directory of this machine.

    Args:
        directory: made where it is missing.
        inline: use no threads.
    """

    def __init__(self, directory: Path, *, inline: bool = False) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.blocking = Blocking(inline=inline)
        self._directory = directory
        self._store = LocalStore(prefix=directory)

    async def keep(self, part: Path, sha256: str) -> None:
        """See ``Blobs``."""
        await self.blocking.run(self._keep, part, sha256)

    def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See ``Blobs``."""
        return _Reading(self._store, self.blocking, _path(sha256), start, end)

    async def pages(self) -> list[list[Blob]]:
        """See ``Blobs``."""
        return await self.blocking.run(self._pages)

    async def remove(self, sha256: str) -> None:
        """See ``Blobs``."""
        with contextlib.suppress(FileNotFoundError):
            await self.blocking.run(obstore.delete, self._store, _path(sha256))

    @contextlib.contextmanager
    def collecting(self) -> Iterator[bool]:
        """See ``Blobs``."""
        with locked(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
            yield held

    def _keep(self, part: Path, sha256: str) -> None:
        # A link, not a rename: until the database knows of the file its upload can still be gone on with.
        target = self._directory / _path(sha256)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = part.with_name(f"{part.name}.kept")
        beside.unlink(missing_ok=True)
        os.link(part, beside)
        beside.replace(target)
        for directory in (target.parent, target.parent.parent):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _pages(self) -> list[list[Blob]]:
        found = [
            [Blob(meta["path"].rpartition("/")[2], meta["size"]) for meta in page]
            for page in obstore.list(self._store, _FILES, chunk_size=500)
        ]
        every = sorted((blob for page in found for blob in page), key=lambda blob: blob.sha256)
        return [every[start : start + 500] for start in range(0, len(every), 500)]


@contextlib.contextmanager
def locked(directory: Path, how: int) -> Iterator[bool]:
    """Hold the lock of a directory of files; gives False where ``how`` (of ``fcntl.flock``) does not wait for it."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


class _Reading:
    """Each piece is asked for by itself: a reader that goes away leaves nothing open."""

    def __init__(self, store: LocalStore, blocking: Blocking, path: str, start: int, end: int) -> None:
        self._store, self._blocking, self._path = store, blocking, path
        self._at, self._end = start, end

    def __aiter__(self) -> _Reading:
        return self

    async def __anext__(self) -> bytes:
        if self._at >= self._end:
            raise StopAsyncIteration
        upto = min(self._end, self._at + PIECE_BYTES)
        piece = await self._blocking.run(self._range, self._at, upto)
        self._at = upto
        return piece

    def _range(self, start: int, end: int) -> bytes:
        return bytes(obstore.get_range(self._store, self._path, start=start, end=end))


def _path(sha256: str) -> str:
    return f"{_FILES}/{sha256[:2]}/{sha256}"

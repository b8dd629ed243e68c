"""Files by their SHA-256, under obstore: local files now, an object store with the same calls later.

obstore's asynchronous calls need asyncio, so its synchronous ones run in threads; whole files are never in memory.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import obstore
import trio
from obstore.store import LocalStore

#: What one hop to a thread carries, in bytes.
PIECE_BYTES = 1 << 20
_INCOMING = "incoming"


class TooLargeError(Exception):
    """More arrived than was allowed."""


class DigestError(Exception):
    """What arrived is not what was announced; the text says what did."""


@attrs.frozen
class Blob:
    """A stored file."""

    sha256: str
    size_bytes: int


class Blobs:
    """The files of one gateway, under ``directory``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store = LocalStore(prefix=directory)
        for page in obstore.list(self._store, _INCOMING):
            for left in page:
                obstore.delete(self._store, left["path"])

    async def put(self, pieces: AsyncIterator[bytes], sha256: str, most_bytes: int) -> Blob:
        """Store what ``pieces`` yield, checked against its digest.

        Raises:
            TooLargeError: more than ``most_bytes``.
            DigestError: the digest is another one.
        """
        path = f"{_INCOMING}/{uuid.uuid4()}"
        writer = await trio.to_thread.run_sync(lambda: obstore.open_writer(self._store, path, buffer_size=PIECE_BYTES))
        digest, size, waiting = hashlib.sha256(), 0, bytearray()

        def flush(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            digest.update(piece)
            writer.write(piece)

        try:
            async for piece in _limited(pieces, most_bytes):
                waiting += piece
                if len(waiting) >= PIECE_BYTES:
                    await trio.to_thread.run_sync(flush, bytes(waiting))
                    waiting.clear()
            await trio.to_thread.run_sync(flush, bytes(waiting))
            _check(digest.hexdigest(), sha256)
        except BaseException:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._discard, writer, path)
            raise
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._keep, writer, path, sha256)
        return Blob(sha256, size)

    async def get(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a stored file's bytes.

        Raises:
            FileNotFoundError: there is no such file.
        """
        found = await trio.to_thread.run_sync(obstore.get, self._store, _path(sha256))
        stream = iter(found.stream(min_chunk_size=PIECE_BYTES))
        while (piece := await trio.to_thread.run_sync(next, stream, None)) is not None:
            yield bytes(piece)

    def _keep(self, writer: obstore.WritableFile, path: str, sha256: str) -> None:
        writer.close()
        obstore.rename(self._store, path, _path(sha256))

    def _discard(self, writer: obstore.WritableFile, path: str) -> None:
        writer.close()
        obstore.delete(self._store, path)


async def _limited(pieces: AsyncIterator[bytes], most_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > most_bytes:
            raise TooLargeError(f"more than {most_bytes} bytes")
        yield piece


def _check(arrived: str, announced: str) -> None:
    if arrived != announced:
        raise DigestError(f"the digest of what arrived is {arrived}")


def _path(sha256: str) -> str:
    return f"sha256/{sha256[:2]}/{sha256}"

"""Files by their SHA-256, under obstore: local files now, an object store with the same calls later.

obstore's asynchronous calls need asyncio, so its synchronous ones run in threads; whole files are never in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import attrs
import obstore
import structlog
import trio
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from edgeagent.gateway.texts import one_line

log = structlog.get_logger()

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: What one hop to a thread carries, in bytes.
PIECE_BYTES = 1 << 20
_INCOMING = "incoming"


class TooLargeError(Exception):
    """More arrived than was allowed."""


class BlobsUnavailableError(Exception):
    """Files cannot be stored now: the disk is full, or gone."""


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
            BlobsUnavailableError: it cannot be stored now.
        """
        path = f"{_INCOMING}/{uuid.uuid4()}"
        writer = await _in_thread(partial(obstore.open_writer, self._store, path, buffer_size=PIECE_BYTES))
        digest, size, waiting = hashlib.sha256(), 0, bytearray()

        def flush(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            digest.update(piece)
            writer.write(piece)

        try:
            async for piece in pieces:
                waiting += piece
                _limit(size + len(waiting), most_bytes)
                if len(waiting) >= PIECE_BYTES:
                    await _in_thread(flush, bytes(waiting))
                    waiting.clear()
            await _in_thread(flush, bytes(waiting))
            _check(digest.hexdigest(), sha256)
        except BaseException:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._discard, writer, path)
            raise
        with trio.CancelScope(shield=True):
            await _in_thread(self._keep, writer, path, sha256)
        return Blob(sha256, size)

    async def get(self, sha256: str) -> AsyncIterator[bytes]:
        """Return a stored file's bytes, in pieces.

        Raises:
            FileNotFoundError: there is no such file.
        """
        found = await trio.to_thread.run_sync(obstore.get, self._store, _path(sha256))
        return _Reading(found.stream(min_chunk_size=PIECE_BYTES))

    def _keep(self, writer: obstore.WritableFile, path: str, sha256: str) -> None:
        writer.close()
        obstore.rename(self._store, path, _path(sha256))

    def _discard(self, writer: obstore.WritableFile, path: str) -> None:
        # What cannot be removed now is removed at the next start.
        with contextlib.suppress(OSError, BaseError):
            writer.close()
            obstore.delete(self._store, path)


class _Reading:
    """An iterator, not a generator: a reader that goes away leaves nothing to be finalised."""

    def __init__(self, stream: obstore.BytesStream) -> None:
        self._stream = stream

    def __aiter__(self) -> _Reading:
        return self

    async def __anext__(self) -> bytes:
        piece = await trio.to_thread.run_sync(next, self._stream, None)
        if piece is None:
            raise StopAsyncIteration
        return bytes(piece)


async def _in_thread(work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    try:
        return await trio.to_thread.run_sync(work, *args)
    except (OSError, BaseError) as error:
        log.warning("Files cannot be stored", reason=one_line(str(error)))
        raise BlobsUnavailableError("files cannot be stored now") from error


def _limit(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise TooLargeError(f"more than {most_bytes} bytes")


def _check(arrived: str, announced: str) -> None:
    if arrived != announced:
        raise DigestError(f"the digest of what arrived is {arrived}")


def _path(sha256: str) -> str:
    return f"sha256/{sha256[:2]}/{sha256}"

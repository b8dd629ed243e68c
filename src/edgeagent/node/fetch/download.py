"""One file from its source onto the disk: cut connections are gone on with, and what arrives is checked.

Only ``partial`` is written.  The waits between tries are the node's usual ones, with full jitter; after ``GIVE_UP_S``
without a single byte that is new, somebody else may try.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import structlog
import trio

from edgeagent.node.backoff import Backoff
from edgeagent.node.fetch.partial import Partial
from edgeagent.node.fetch.source import ChangedError, Source, UnreachedError, UnusableError
from edgeagent.node.throttle import FREE, Throttle

log = structlog.get_logger()

#: Seconds without a new byte after which a download is given up.
GIVE_UP_S = 120.0
#: Times that a file which changes, or arrives wrong after having been gone on with, is begun again.
MOST_CHANGES = 3
#: What is collected before a hop to a thread writes it, in bytes.
_PIECE_BYTES = 1 << 20


@attrs.frozen(kw_only=True)
class Wanted:
    """What must arrive; what is None is not known ahead."""

    sha256: str | None
    size_bytes: int | None
    most_bytes: int


async def download(
    source: Source,
    partial: Partial,
    wanted: Wanted,
    *,
    rng: random.Random,
    heard: Callable[[int], None],
    throttle: Throttle = FREE,
) -> None:
    """Bring the whole of a file into ``partial``.

    Args:
        heard: told how many bytes are there, now and then.
        throttle: how fast it may come.

    Raises:
        UnusableError: it is not what was wanted, and would not be for anybody.
        UnreachedError: it cannot be had here and now.
        OSError: the disk does not take it.
    """
    backoff, changes = Backoff(rng), 0
    most, moved_at = partial.size_bytes, trio.current_time()
    while True:
        try:
            await _receive(source, partial, wanted, heard, throttle)
            await trio.to_thread.run_sync(_check, partial, wanted)
        except ChangedError as error:
            changes += 1
            if changes > MOST_CHANGES:
                raise UnreachedError(str(error)) from None
            await trio.to_thread.run_sync(partial.clear)
        except UnreachedError as error:
            if partial.size_bytes > most:
                most, moved_at = partial.size_bytes, trio.current_time()
                backoff.reset()
            delay_s = backoff.next_s()
            if error.lasting or trio.current_time() + delay_s - moved_at > GIVE_UP_S:
                raise
            log.info("Input not fetched, trying again", reason=str(error), retry_s=round(delay_s, 1))
            await trio.sleep(delay_s)
        else:
            return
        finally:
            partial.end()


async def _receive(
    source: Source, partial: Partial, wanted: Wanted, heard: Callable[[int], None], throttle: Throttle
) -> None:
    async with source.open(partial.size_bytes if partial.validator else 0, partial.validator) as arriving:
        _fits(arriving.size_bytes, wanted)
        await trio.to_thread.run_sync(partial.begin, arriving.offset, arriving.validator)
        heard(partial.size_bytes)
        waiting = bytearray()
        try:
            async with _closing(arriving.pieces):
                async for piece in arriving.pieces:
                    waiting += piece
                    if partial.size_bytes + len(waiting) > wanted.most_bytes:
                        raise UnusableError(f"more than the {wanted.most_bytes} bytes that were announced, or allowed")
                    if len(waiting) >= _PIECE_BYTES:
                        await _flush(partial, waiting, heard)
                    await throttle.take(len(piece))
        finally:
            with trio.CancelScope(shield=True):  # what has arrived need not be sent again
                await _flush(partial, waiting, heard)
        if arriving.size_bytes is not None and partial.size_bytes < arriving.size_bytes:
            raise UnreachedError("the connection was closed before the whole file had come")


async def _flush(partial: Partial, waiting: bytearray, heard: Callable[[int], None]) -> None:
    if waiting:
        piece = bytes(waiting)
        waiting.clear()
        await trio.to_thread.run_sync(partial.append, piece)
        heard(partial.size_bytes)


def _fits(size_bytes: int | None, wanted: Wanted) -> None:
    if size_bytes is None:
        return
    if wanted.size_bytes is not None and size_bytes != wanted.size_bytes:
        raise UnusableError(f"{size_bytes} bytes are there, where {wanted.size_bytes} were announced")
    if size_bytes > wanted.most_bytes:
        raise UnusableError(f"{size_bytes} bytes are there, where {wanted.most_bytes} are allowed")


def _check(partial: Partial, wanted: Wanted) -> None:
    """Refuse a file that is not the one that was wanted.

    Raises:
        ChangedError: some of it is from an earlier connection, so it may have been pieced together of two.
        UnusableError: it came in one piece.
    """
    right_size = wanted.size_bytes in (None, partial.size_bytes)
    if right_size and wanted.sha256 in (None, partial.sha256):
        return
    resumed, sha256, size_bytes = partial.resumed, partial.sha256, partial.size_bytes
    partial.clear()
    if resumed:
        raise ChangedError("what arrived in several pieces is not one file")
    raise UnusableError(
        f"what arrived has the SHA-256 {sha256} and {size_bytes} bytes, where {wanted.sha256} was announced"
        if right_size
        else f"{size_bytes} bytes arrived, where {wanted.size_bytes} were announced"
    )


@asynccontextmanager
async def _closing(pieces: AsyncIterator[bytes]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        close = getattr(pieces, "aclose", None)  # a generator that is left behind has to be told
        if close is not None:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await close()

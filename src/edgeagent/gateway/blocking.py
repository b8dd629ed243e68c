"""Blocking work on files: in a thread, or in the caller's task where a virtual clock leaves no room for threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar, TypeVarTuple, Unpack

import structlog
import trio
from obstore.exceptions import BaseError

from edgeagent.gateway.texts import one_line

log = structlog.get_logger()

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: What one hop to a thread carries, in bytes.
PIECE_BYTES = 1 << 20


class BlobsUnavailableError(Exception):
    """Files cannot be stored or read now: the disk is full, or gone."""


@contextlib.contextmanager
def directory_there() -> Iterator[None]:
    """Take a file that is missing for its directory: a disk that was taken away, say, and comes back.

    Raises:
        BlobsUnavailableError: a file was missing.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise BlobsUnavailableError("the directory of files is gone") from error


class Blocking:
    """Runs functions that block."""

    def __init__(self, *, inline: bool = False) -> None:
        self._inline = inline

    async def run(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """Return what ``work`` returns; a caller that is cancelled still waits for it.

        Raises:
            FileNotFoundError: as ``work`` raised it.
            BlobsUnavailableError: the disk, or what takes its place, failed.
        """
        try:
            if self._inline:
                await trio.lowlevel.checkpoint()
                return work(*args)
            return await trio.to_thread.run_sync(work, *args)
        except FileNotFoundError:
            raise
        except (OSError, BaseError) as error:
            log.warning("Files cannot be used", reason=one_line(str(error)))
            raise BlobsUnavailableError("files cannot be stored now") from error

"""A file of the gateway's onto this machine: broken connections are gone on with, and what arrives is checked.

It comes into a hidden file beside its place, which is kept when the command is ended; the next one goes on with it.
``client.Client`` calls it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import attrs
import trio

from edgeagent.errors import EdgeAgentError, UnreachableError
from edgeagent.patience import Patience
from edgeagent.rest import Rest

_PIECE_BYTES = 1 << 20


@attrs.frozen(kw_only=True)
class Wanted:
    """What is to come: the path of its request, and what it must be."""

    path: str
    sha256: str
    size_bytes: int


async def download(rest: Rest, wanted: Wanted, target: Path, moved: Callable[[int, int], None]) -> None:
    """Put a file at ``target``, in place of what lies there.

    Args:
        moved: told how many bytes of how many are here.

    Raises:
        EdgeAgentError: it cannot be stored, or what arrived is not what was wanted; nothing is left of it.
        RefusedError: the gateway does not give it.
        UnreachableError: it did not arrive, however often it was tried.
    """
    part = target.with_name(f".{wanted.sha256[:16]}.part")
    try:
        await trio.Path(target.parent).mkdir(parents=True, exist_ok=True)
        with part.open("a+b") as file:
            arriving = _Arriving(rest, wanted, file, moved)
            try:
                await arriving.run()
            finally:
                if file.tell() == 0 < wanted.size_bytes:
                    part.unlink()
            await trio.to_thread.run_sync(os.fsync, file.fileno())
        if arriving.digest.hexdigest() != wanted.sha256:
            part.unlink()
            raise EdgeAgentError(f"{target.name} arrived damaged; ask for it again")
        part.replace(target)
    except OSError as error:
        raise EdgeAgentError(f"{target} cannot be written: {error.strerror}") from None


class _Arriving:
    def __init__(self, rest: Rest, wanted: Wanted, file: BinaryIO, moved: Callable[[int, int], None]) -> None:
        self._rest, self._wanted, self._file, self._moved = rest, wanted, file, moved
        self.digest = hashlib.sha256()

    async def run(self) -> None:
        """Bring into the file what is missing of it."""
        await trio.to_thread.run_sync(self._read)
        patience, size = Patience(), self._wanted.size_bytes
        while self._file.tell() < size:
            try:
                await self._go_on()
            except UnreachableError as error:
                await patience.wait(error, self._file.tell())
            else:
                if self._file.tell() < size:
                    cut = UnreachableError("the connection was closed before the whole file had come")
                    await patience.wait(cut, self._file.tell())

    async def _go_on(self) -> None:
        there = self._file.tell()
        self._moved(there, self._wanted.size_bytes)
        headers = {"Range": f"bytes={there}-", "Accept-Encoding": "identity"}
        async with self._rest.stream("GET", self._wanted.path, headers=headers) as answer:
            if answer.status_code != 206:  # a proxy may know no ranges
                self._file.truncate(0)
                self.digest = hashlib.sha256()
            async for piece in answer.aiter_bytes(_PIECE_BYTES):
                await trio.to_thread.run_sync(self._write, piece)
                self._moved(self._file.tell(), self._wanted.size_bytes)

    def _read(self) -> None:
        self._file.seek(0)
        while piece := self._file.read(_PIECE_BYTES):
            self.digest.update(piece)

    def _write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._file.flush()
        self.digest.update(piece)

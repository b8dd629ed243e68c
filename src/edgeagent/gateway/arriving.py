"""One request's body on its way into a file: in pieces that are worth a hop to a thread, hashed there."""

from __future__ import annotations

from edgeagent.gateway.blocking import PIECE_BYTES, Blocking
from edgeagent.gateway.parts import Part
from edgeagent.gateway.tus import Checksum


class TooLongError(Exception):
    """More came than was announced."""


class ChecksumError(Exception):
    """The body is not what its checksum says."""


class Arriving:
    """A body that is appended to ``part``, which is to have at most ``length`` bytes.

    Args:
        checksum: of this body alone.
    """

    def __init__(self, part: Part, length: int, checksum: Checksum | None, blocking: Blocking) -> None:
        self.part, self.start = part, part.size
        self._length, self._blocking, self._checksum = length, blocking, checksum
        self._hash = None if checksum is None else checksum.new()
        self._waiting = bytearray()

    @property
    def taken(self) -> int:
        """How many bytes of the body are in the file."""
        return self.part.size - self.start

    async def add(self, piece: bytes) -> None:
        """Take what came.

        Raises:
            TooLongError: see there; what came before is kept.
            BlobsUnavailableError: it cannot be stored now.
        """
        if self.part.size + len(self._waiting) + len(piece) > self._length:
            raise TooLongError
        self._waiting += piece
        if len(self._waiting) >= PIECE_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Have in the file what came so far.  Raises ``BlobsUnavailableError``."""
        if self._waiting:
            waiting, self._waiting = self._waiting, bytearray()
            await self._blocking.run(self._write, waiting)

    def check(self) -> None:
        """Compare the body, which is in the file, with its checksum.

        Raises:
            ChecksumError: see there.
        """
        if self._hash is not None and self._checksum is not None and self._hash.digest() != self._checksum.digest:
            raise ChecksumError

    def _write(self, piece: bytearray) -> None:
        self.part.write(piece)
        if self._hash is not None:
            self._hash.update(piece)

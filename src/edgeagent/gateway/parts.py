"""What has arrived of the uploads in progress: one local file for each, hashed while it is written.

A hash's state cannot be stored, so after a restart of the gateway the file is read again when its digest is needed.
Everything here blocks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from edgeagent.gateway.blocking import PIECE_BYTES


class Part:
    """One upload's file, as far as it has arrived; ``size`` counts its bytes.

    Args:
        path: its place.
        size: how much of it counts; what is there beyond was never said to be stored, and goes when it is opened.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self._descriptor = -1
        self._hash, self._hashed = hashlib.sha256(), 0
        self._before = (self._hash, 0)

    @property
    def is_open(self) -> bool:
        """Whether it can be written."""
        return self._descriptor >= 0

    def open(self) -> None:
        """Be ready to be written; ``size`` is less than it was where the file is shorter (a copy was restored)."""
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size = min(self.size, os.fstat(self._descriptor).st_size)
        os.ftruncate(self._descriptor, self.size)
        os.lseek(self._descriptor, self.size, os.SEEK_SET)
        if self._hashed > self.size:
            self._hash, self._hashed = hashlib.sha256(), 0
        self._before = (self._hash.copy(), self._hashed)

    def write(self, piece: bytes | bytearray) -> None:
        """Append a piece, all of it or nothing."""
        with memoryview(piece) as view:
            try:
                written = 0
                while written < len(view):
                    written += os.write(self._descriptor, view[written:])
            except OSError:
                self._truncate()
                raise
            if self._hashed == self.size:
                self._hash.update(view)
                self._hashed += len(view)
        self.size += len(piece)

    def sync(self) -> None:
        """Have all of it on disk."""
        os.fsync(self._descriptor)

    def cut(self, size: int) -> None:
        """Forget what came since the file was opened, at ``size``."""
        self.size = size
        self._hash, self._hashed = self._before
        self._truncate()

    def close(self) -> None:
        """Let go of the file; what was hashed is remembered."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def sha256(self) -> str:
        """Return the digest of all of it, reading what was not hashed as it came."""
        at = self._hashed
        while at < self.size:
            piece = os.pread(self._descriptor, min(PIECE_BYTES, self.size - at), at)
            if not piece:
                raise OSError(f"{self.path} is shorter than it was")
            self._hash.update(piece)
            at += len(piece)
        self._hashed = at
        return self._hash.hexdigest()

    def _truncate(self) -> None:
        os.ftruncate(self._descriptor, self.size)
        os.lseek(self._descriptor, self.size, os.SEEK_SET)


class Parts:
    """The directory of the uploads in progress, by their ids."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory

    def path(self, upload_id: str) -> Path:
        """Return where an upload's file lies."""
        return self._directory / upload_id

    def discard(self, upload_id: str) -> None:
        """Remove an upload's file."""
        self.path(upload_id).unlink(missing_ok=True)

    def there(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted(entry.name for entry in os.scandir(self._directory))

    def stored_bytes(self) -> int:
        """Return how much has arrived of all uploads."""
        total = 0
        for entry in os.scandir(self._directory):
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat().st_size
        return total

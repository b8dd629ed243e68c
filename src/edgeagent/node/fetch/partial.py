"""A file that is still arriving, on disk: what came so far, and what to show to go on with the same file.

Both survive the node.  After a power cut the bytes may not be what they were, which the digest at the end tells; so
nothing here is flushed but the whole file, once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO

_PIECE_BYTES = 1 << 20


class Partial:
    """One such file; every call may block, and none may run beside another.

    Attributes:
        size_bytes: what has arrived.
        validator: what to show to go on; None where that is not possible.
        resumed: some of it came by an earlier connection.
    """

    def __init__(self, path: Path) -> None:
        """Look at what is there of ``path``, and beside it, from before.

        Raises:
            OSError: it cannot be read.
        """
        self.path = path
        self._about = path.with_name(f"{path.name}.json")
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self.size_bytes = 0
        self.validator = self._read_about()
        if self.validator is None:
            self.clear()
        else:
            self._take_up()
        self.resumed = self.size_bytes > 0

    def _read_about(self) -> str | None:
        try:
            document = json.loads(self._about.read_bytes())
        except (OSError, ValueError):
            return None
        validator = document.get("validator") if isinstance(document, dict) else None
        return validator if isinstance(validator, str) else None

    def _take_up(self) -> None:
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                self._digest.update(piece)
                self.size_bytes += len(piece)

    @property
    def sha256(self) -> str:
        """The digest of what has arrived."""
        return self._digest.hexdigest()

    def begin(self, offset: int, validator: str | None) -> None:
        """A connection brings what is from ``offset`` on: where this ends, or at the beginning.

        Raises:
            OSError: the disk does not take it.
        """
        if offset != self.size_bytes:
            self.clear()
        self.resumed = self.size_bytes > 0
        if validator != self.validator:
            self._about.unlink(missing_ok=True)
            if validator is not None:
                self._about.write_text(json.dumps({"validator": validator}))
        self.validator = validator
        self._file = self.path.open("ab")

    def append(self, piece: bytes) -> None:
        """Add what has arrived.

        Raises:
            OSError: the disk does not take it.
        """
        assert self._file is not None
        self._file.write(piece)
        self._file.flush()
        self._digest.update(piece)
        self.size_bytes += len(piece)

    def end(self) -> None:
        """The connection is over."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def clear(self) -> None:
        """Forget everything: it was not the right file."""
        self.end()
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)
        self._digest = hashlib.sha256()
        self.size_bytes, self.validator, self.resumed = 0, None, False

    def read(self) -> bytes:
        """Return what has arrived; for small files."""
        return self.path.read_bytes() if self.size_bytes else b""

    def keep(self, target: Path) -> None:
        """Put the whole file at ``target``, safely and for everybody to read.

        Raises:
            OSError: the disk does not take it.
        """
        self.end()
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CREAT, 0o444)
        try:
            os.fchmod(descriptor, 0o444)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.path.replace(target)
        self._about.unlink(missing_ok=True)

"""What the processor, the memory and the disk give, each measured for about a second from one thread.

The best of some rounds counts: whatever else the machine does can only make a round slower.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from edgeagent.plugins.cpu_benchmark import count_by_segment

#: Bytes that are copied in memory: beyond the last cache of most processors.
MEMORY_BYTES = 64 << 20
#: Bytes that are written to the disk and read again.
DISK_BYTES = 128 << 20
#: Small synchronous writes, of which the median counts: what each result costs.
SYNCS = 20
_SIEVED = 2_000_000
_HASHED_BYTES = 16 << 20
_ROUNDS = 3
_PIECE_BYTES = 1 << 20


def processor() -> dict[str, float]:
    """Return numbers sieved and bytes hashed by SHA-256 in a second, by one core."""
    piece = bytes(_HASHED_BYTES)
    return {
        "sieved_per_s": _SIEVED / _best(lambda: sum(count for _, count in count_by_segment(_SIEVED))),
        "sha256_bytes_per_s": _HASHED_BYTES / _best(lambda: hashlib.sha256(piece).digest()),
    }


def memory(size_bytes: int = MEMORY_BYTES) -> dict[str, float]:
    """Return the bytes copied in a second."""
    source, target = bytearray(os.urandom(4096) * (size_bytes // 4096)), bytearray(size_bytes)
    view = memoryview(target)

    def copy() -> None:
        view[:] = source

    copy()  # the pages have to be there
    return {"copied_bytes_per_s": size_bytes / _best(copy)}


def disk(place: Path, size_bytes: int = DISK_BYTES) -> dict[str, float]:
    """Return the bytes written to, and read from, the disk of ``place`` in a second, and how long a small write takes.

    Written is what is on the disk (``fsync``); what is read has been dropped from the page cache first, as far as the
    file system lets it be.  A file is made there, and removed.

    Raises:
        OSError: it cannot be written.
    """
    piece = os.urandom(_PIECE_BYTES)
    with tempfile.TemporaryFile(dir=place, buffering=0) as file:
        written_s = _timed(lambda: _write(file.fileno(), piece, size_bytes))
        if sys.platform == "linux":
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        read_s = _timed(lambda: _read(file.fileno()))
        syncs = [_timed(lambda: _write(file.fileno(), piece[:4096], 4096)) for _ in range(SYNCS)]
    return {
        "written_bytes_per_s": size_bytes / written_s,
        "read_bytes_per_s": size_bytes / read_s,
        "small_write_s": statistics.median(syncs),
    }


def _write(descriptor: int, piece: bytes, size_bytes: int) -> None:
    for _ in range(size_bytes // len(piece)):
        os.write(descriptor, piece)
    os.fsync(descriptor)


def _read(descriptor: int) -> None:
    while os.read(descriptor, _PIECE_BYTES):
        pass


def _best(work: Callable[[], object]) -> float:
    return min(_timed(work) for _ in range(_ROUNDS))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

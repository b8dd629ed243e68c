"""Files by their digest."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from edgeagent.gateway.blobs import PIECE_BYTES, Blob, Blobs, BlobsUnavailableError, DigestError, TooLargeError

DATA = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"end"
DIGEST = hashlib.sha256(DATA).hexdigest()


async def pieces(data: bytes, size: int = 100_000) -> AsyncGenerator[bytes, None]:
    """Yield ``data`` as a request would bring it."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def read(blobs: Blobs, sha256: str) -> bytes:
    return b"".join([piece async for piece in await blobs.get(sha256)])


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", [b"", b"x", DATA])
async def test_what_is_stored_comes_back(tmp_path: Path, data: bytes) -> None:
    """Byte for byte, under its digest, and with nothing else left behind."""
    blobs = Blobs(tmp_path)
    digest = hashlib.sha256(data).hexdigest()

    assert await blobs.put(pieces(data), digest, 1 << 30) == Blob(digest, len(data))
    assert await read(blobs, digest) == data
    assert files(tmp_path) == [tmp_path / "sha256" / digest[:2] / digest]


async def test_the_same_file_twice_is_one_file(tmp_path: Path) -> None:
    """Repeating an upload is harmless."""
    blobs = Blobs(tmp_path)
    for _ in range(2):
        await blobs.put(pieces(DATA), DIGEST, 1 << 30)

    assert len(files(tmp_path)) == 1


async def test_another_digest_is_refused(tmp_path: Path) -> None:
    """What arrived damaged is not kept."""
    with pytest.raises(DigestError, match=DIGEST):
        await Blobs(tmp_path).put(pieces(DATA), "0" * 64, 1 << 30)
    assert files(tmp_path) == []


async def test_more_than_allowed_is_refused(tmp_path: Path) -> None:
    """As soon as it is too much, without reading the rest."""
    taken = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal taken
        while True:
            taken += 1000
            yield bytes(1000)

    async with aclosing(endless()) as data:
        with pytest.raises(TooLargeError):
            await Blobs(tmp_path).put(data, DIGEST, 5000)
    assert taken == 6000
    assert files(tmp_path) == []


async def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """The sender's fault reaches the caller."""

    async def broken() -> AsyncGenerator[bytes, None]:
        yield DATA
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await Blobs(tmp_path).put(broken(), DIGEST, 1 << 30)
    assert files(tmp_path) == []


async def test_what_a_crash_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    """Half an upload is nobody's."""
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "half").write_bytes(b"half")

    Blobs(tmp_path)

    assert files(tmp_path) == []


async def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Not an empty one."""
    with pytest.raises(FileNotFoundError):
        await read(Blobs(tmp_path), DIGEST)


async def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """As something that may pass, not as a bug."""
    blobs = Blobs(tmp_path)
    (tmp_path / "incoming").write_text("a file in the way")

    async with aclosing(pieces(DATA)) as data:
        with pytest.raises(BlobsUnavailableError):
            await blobs.put(data, DIGEST, 1 << 30)

"""Files by their digest, and what has arrived of those on their way."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeagent.gateway.blobs import Blob, LocalBlobs, locked
from edgeagent.gateway.blocking import PIECE_BYTES, BlobsUnavailableError
from edgeagent.gateway.parts import Part, Parts

DATA = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"end"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    """A part that is open, of which nothing has arrived."""
    part = Part(tmp_path / "part", 0)
    part.open()
    yield part
    part.close()


async def kept(blobs: LocalBlobs, directory: Path, data: bytes) -> str:
    """Keep a file, as an upload does, and return its digest."""
    digest = hashlib.sha256(data).hexdigest()
    part = directory / "arrived"
    part.write_bytes(data)
    await blobs.keep(part, digest)
    part.unlink()
    return digest


async def read(blobs: LocalBlobs, sha256: str, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in blobs.read(sha256, start, end)])


@pytest.mark.parametrize("data", [b"", b"x", DATA])
async def test_what_is_kept_comes_back(tmp_path: Path, data: bytes) -> None:
    """Byte for byte, under its digest, and with nothing else left behind."""
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = await kept(blobs, tmp_path, data)

    assert await read(blobs, digest, 0, len(data)) == data
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [
        tmp_path / "blobs" / "sha256" / digest[:2] / digest
    ]
    assert await blobs.pages() == [[Blob(digest, len(data))]]


async def test_a_range_of_a_file_is_read_in_pieces(tmp_path: Path) -> None:
    """None of them longer than a hop to a thread carries."""
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = await kept(blobs, tmp_path, DATA)
    pieces = [piece async for piece in blobs.read(digest, 7, len(DATA) - 1)]

    assert b"".join(pieces) == DATA[7:-1]
    assert max(map(len, pieces)) == PIECE_BYTES


async def test_the_same_file_twice_is_one_file(tmp_path: Path) -> None:
    """Keeping it again is harmless, and so is removing it again."""
    blobs = LocalBlobs(tmp_path / "blobs")
    for _ in range(2):
        await kept(blobs, tmp_path, DATA)
    assert await blobs.pages() == [[Blob(DIGEST, len(DATA))]]

    for _ in range(2):
        await blobs.remove(DIGEST)
    assert await blobs.pages() == []


async def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Not an empty one."""
    with pytest.raises(FileNotFoundError):
        await read(LocalBlobs(tmp_path / "blobs"), DIGEST, 0, 1)


async def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """As something that may pass, not as a bug."""
    blobs = LocalBlobs(tmp_path / "blobs")
    (tmp_path / "blobs" / "sha256").write_text("a file in the way")

    with pytest.raises(BlobsUnavailableError):
        await kept(blobs, tmp_path, DATA)


async def test_nothing_is_collected_while_the_files_are_copied(tmp_path: Path) -> None:
    """A copier keeps the collector out, and many may copy; the collector is alone."""
    blobs = LocalBlobs(tmp_path)
    shared = fcntl.LOCK_SH | fcntl.LOCK_NB

    with locked(tmp_path, shared), locked(tmp_path, shared) as both, blobs.collecting() as alone:
        assert (both, alone) == (True, False)
    with blobs.collecting() as alone, locked(tmp_path, shared) as copying:
        assert (alone, copying) == (True, False)


def test_a_part_is_hashed_as_it_comes(part: Part) -> None:
    """In whatever pieces, and over requests."""
    part.write(DATA[:10])
    part.close()
    part.open()
    part.write(DATA[10:])

    assert (part.size, part.sha256()) == (len(DATA), DIGEST)
    assert part.path.read_bytes() == DATA


def test_a_part_is_hashed_anew_after_a_restart(part: Part) -> None:
    """From what is on disk; what came after it was last synced does not count."""
    part.write(DATA + b"not said to be stored")
    part.close()

    again = Part(part.path, 10)
    again.open()
    again.write(DATA[10:])

    assert again.sha256() == DIGEST
    assert part.path.read_bytes() == DATA
    again.close()


def test_a_part_that_lost_bytes_begins_where_it_ends(part: Part) -> None:
    """As after a copy of the database alone was restored."""
    part.write(DATA[:10])
    part.close()

    again = Part(part.path, 1000)
    again.open()

    assert again.size == 10
    again.write(DATA[10:])
    assert again.sha256() == DIGEST
    again.close()


def test_a_cut_part_is_as_it_was(part: Part) -> None:
    """Its hash too."""
    part.write(DATA[:10])
    part.close()
    part.open()
    part.write(b"damaged")
    part.cut(10)
    part.write(DATA[10:])

    assert part.sha256() == DIGEST
    assert part.path.read_bytes() == DATA


def test_a_digest_of_a_part_that_is_too_short_is_not_told(part: Part) -> None:
    """Somebody else has cut the file."""
    part.write(DATA)
    again = Part(part.path, len(DATA))
    again.open()
    os.truncate(part.path, 5)
    with pytest.raises(OSError, match="shorter"):
        again.sha256()
    again.close()


def test_parts_tell_what_they_hold(tmp_path: Path) -> None:
    """By the uploads' ids; without them there is nothing."""
    parts = Parts(tmp_path / "parts")
    parts.path("b").write_bytes(b"12")
    parts.path("a").write_bytes(b"3")
    assert (parts.there(), parts.stored_bytes()) == (["a", "b"], 3)

    parts.discard("a")
    parts.discard("a")
    assert (parts.there(), parts.stored_bytes()) == (["b"], 2)

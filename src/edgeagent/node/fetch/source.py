"""What every place that files come from has in common: how it is asked, and what can go wrong.

The two faults are the rule: a reference that nobody can use is its job's fault, and everything else is nobody's.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs

#: Kinds of references, as Hello names them.
BLOB, HTTPS = "blob", "https"
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class UnusableError(Exception):
    """Nobody can use this reference; one line that says why."""


class UnreachedError(Exception):
    """It did not arrive here; one line that says why.

    Attributes:
        lasting: to ask again soon would be no use; another node may have more luck.
    """

    def __init__(self, why: str, *, lasting: bool = False) -> None:
        super().__init__(why)
        self.lasting = lasting


class ChangedError(Exception):
    """What has arrived before cannot be gone on with: there is something else at that place now."""


@attrs.frozen(kw_only=True)
class Arriving:
    """A file on its way.

    Attributes:
        offset: where in the file ``pieces`` begin; 0 where the place cannot go on, or has another file now.
        size_bytes: of the whole file, where the place says so.
        validator: what to show the next time, to go on with the same file only.
    """

    offset: int
    size_bytes: int | None
    validator: str | None
    pieces: AsyncIterator[bytes]


class Source(Protocol):
    """One file at one place."""

    def open(self, offset: int, validator: str | None) -> AbstractAsyncContextManager[Arriving]:
        """Begin to read at ``offset``, if the file is still the one that ``validator`` stands for.

        Raises:
            UnusableError, UnreachedError, ChangedError: see there; from the pieces, too.
        """
        ...


def kind_of(ref: str) -> str:
    """Return which kind of place a reference leads to; what is no kind of Hello's is nobody's."""
    scheme = ref.partition(":")[0]
    return BLOB if scheme == "sha256" else scheme


def is_file_name(name: str) -> bool:
    """Return whether an input's name can be that of a file in a directory, and nothing else."""
    if name in ("", ".", "..") or not name.isprintable() or "/" in name:
        return False
    try:
        return len(name.encode()) <= 255
    except UnicodeEncodeError:
        return False


def digest_of(ref: str) -> str | None:
    """Return the digest that a reference to a file of the gateway's is; None for one to elsewhere."""
    match = _SHA256.fullmatch(ref)
    return match and match[1]


def range_headers(offset: int, validator: str | None) -> dict[str, str]:
    """Return the headers that ask for the rest of a file (RFC 9110, 13.1.5), in one piece and not compressed."""
    headers = {"Accept-Encoding": "identity"}
    if offset and validator:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    return headers


def read_answer(status: int, headers: Mapping[str, str], offset: int, pieces: AsyncIterator[bytes]) -> Arriving:
    """Return what a server that answered with ``status`` (200, 206 or 416) is about to send.

    Args:
        headers: names in lower case.
        offset: what was asked for.

    Raises:
        ChangedError: it is not the rest of the same file.
        UnreachedError: the answer makes no sense.
    """
    if status == 416:
        raise ChangedError("there is no such part of it any more")
    if status == 200:
        length = headers.get("content-length", "")
        start, size = 0, int(length) if length.isdecimal() and len(length) < 19 else None
    else:
        match = _RANGE.fullmatch(headers.get("content-range", ""))
        if match is None or int(match[1]) != offset:
            raise UnreachedError("the server sent another part than it was asked for")
        start, size = offset, None if match[3] == "*" else int(match[3])
    etag = headers.get("etag", "")
    strong = bool(etag) and not etag.startswith("W/")  # a weak one must not be used to go on
    return Arriving(offset=start, size_bytes=size, validator=etag if strong else None, pieces=pieces)

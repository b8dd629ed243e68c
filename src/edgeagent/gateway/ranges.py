"""Which bytes of a file a request wants (RFC 9110, section 14).  Pure.

One range only: a request for several is answered with the whole file, which the standard allows.
"""

from __future__ import annotations

import re

import attrs

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,19})\s*-\s*([0-9]{0,19})", re.IGNORECASE | re.ASCII)


class UnsatisfiableError(Exception):
    """The file has none of the bytes that were asked for."""


@attrs.frozen
class Slice:
    """The bytes from ``start`` up to but not including ``end``."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """How many they are."""
        return self.end - self.start

    def content_range(self, size_bytes: int) -> str:
        """Return the value of Content-Range, of a file of that size."""
        return f"bytes {self.start}-{self.end - 1}/{size_bytes}"


def wanted(header: str | None, if_range: str | None, etag: str, size_bytes: int) -> Slice | None:
    """Return the part of a file that is wanted; None for the whole of it.

    Args:
        header: Range, where there is one; what cannot be read as one range counts as none.
        if_range: If-Range; a part is sent only where it is the file's ``etag``, which is a strong one.

    Raises:
        UnsatisfiableError: see there.
    """
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size_bytes - int(last)), size_bytes
    else:
        start, end = int(first), min(size_bytes, int(last) + 1 if last else size_bytes)
        if last and int(last) < start:
            return None
    if start >= end:
        raise UnsatisfiableError
    return Slice(start, end)

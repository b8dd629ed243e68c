"""The headers of tus 1.0, the protocol of resumable uploads (https://tus.io/protocols/resumable-upload).  Pure.

Reads what a client may send, and writes what it is answered; ``api.uploading`` knows when each is needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

import attrs

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
#: What a piece may be checked with; tus demands SHA-1.
ALGORITHMS = ("sha256", "sha1")
#: The one type that a body may have.
CONTENT_TYPE = "application/offset+octet-stream"
#: tus' own status: what arrived is not what its ``Upload-Checksum`` says.
CHECKSUM_MISMATCH = 460
#: Longest Upload-Metadata, in characters, and most entries in it.
MAX_METADATA, MAX_ENTRIES = 4096, 16
#: Longest file that can be announced, in bytes.
MAX_LENGTH = 1 << 40


class TusError(ValueError):
    """A request that the protocol does not allow; ``status`` is the answer, the text one line that says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@attrs.frozen
class Checksum:
    """What one piece must hash to."""

    algorithm: str
    digest: bytes

    def new(self) -> hashlib._Hash:
        """Return a hash of this kind, of nothing yet."""
        return hashlib.new(self.algorithm, usedforsecurity=False)


def check_version(header: str | None) -> None:
    """Refuse another version of the protocol, or none."""
    if header != VERSION:
        raise TusError(HTTPStatus.PRECONDITION_FAILED, f"Tus-Resumable: this gateway speaks tus {VERSION}")


def check_type(header: str | None) -> None:
    """Refuse a body of another type."""
    if header is None or header.partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise TusError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type: {CONTENT_TYPE} is needed here")


def parse_length(header: str | None) -> int:
    """Return the length of a file that is announced, in bytes."""
    length = _number("Upload-Length", header)
    if length > MAX_LENGTH:
        raise TusError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Upload-Length: a file has at most {MAX_LENGTH} bytes")
    return length


def parse_offset(header: str | None) -> int:
    """Return where a piece begins, in bytes."""
    return _number("Upload-Offset", header)


def parse_metadata(header: str | None) -> Mapping[str, str]:
    """Return what is told about a file: keys, and texts in UTF-8 that came in base64."""
    if header is None or not header.strip():
        return {}
    entries = header.split(",")
    if len(header) > MAX_METADATA or len(entries) > MAX_ENTRIES:
        raise TusError(
            HTTPStatus.BAD_REQUEST,
            f"Upload-Metadata: at most {MAX_ENTRIES} entries and {MAX_METADATA} characters",
        )
    found: dict[str, str] = {}
    for entry in entries:
        key, _, encoded = entry.strip().partition(" ")
        try:
            value = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            value = None
        if value is None or not key.isascii() or not key.isprintable() or key in found:
            raise TusError(
                HTTPStatus.BAD_REQUEST, "Upload-Metadata: 'KEY BASE64,KEY BASE64', each key once, texts in UTF-8"
            )
        found[key] = value
    return found


def parse_checksum(header: str | None) -> Checksum | None:
    """Return what the piece must hash to; None where nothing is said."""
    if header is None:
        return None
    algorithm, _, encoded = header.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise TusError(HTTPStatus.BAD_REQUEST, f"Upload-Checksum: one of {', '.join(ALGORITHMS)}, not {algorithm[:40]}")
    try:
        digest = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise TusError(HTTPStatus.BAD_REQUEST, f"Upload-Checksum: that is no digest of {algorithm} in base64")
    return Checksum(algorithm, digest)


def expires(at: float) -> str:
    """Return the value of Upload-Expires for a time in seconds since the epoch."""
    return formatdate(at, usegmt=True)


def _number(name: str, header: str | None) -> int:
    if header is None or not header.isascii() or not header.isdigit() or len(header) > 19:
        raise TusError(HTTPStatus.BAD_REQUEST, f"{name}: a number of bytes is needed here")
    return int(header)

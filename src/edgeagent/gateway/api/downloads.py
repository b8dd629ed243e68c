"""Sending a stored file, or the part of it that is asked for."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from litestar import Request
from litestar.exceptions import HTTPException
from litestar.openapi.spec import OpenAPIHeader, OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, Schema
from litestar.openapi.spec import Parameter as DocumentedParameter
from litestar.response import Stream

from edgeagent.gateway import ranges
from edgeagent.gateway.blobs import Blob, Blobs

OCTETS = "application/octet-stream"
_FILE = {OCTETS: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, content_media_type=OCTETS))}


class SendsFile(Operation):
    """An operation that answers with a file, or with a range of it."""

    def __init__(self, **given: Any) -> None:
        """Describe the request's and the answers' headers, of which Litestar sees nothing."""
        super().__init__(**given)
        self.parameters = [
            *(self.parameters or []),
            _header("Range", "One range of bytes; several, or none, give the whole file.", "bytes=0-99"),
            _header("If-Range", "Send the range only where this is the file's ETag.", f'"{"0" * 64}"'),
        ]
        whole, part = (
            OpenAPIResponse(
                description=about,
                content=_FILE,
                headers={name: OpenAPIHeader(schema=Schema(type=OpenAPIType.STRING)) for name in names},
            )
            for about, names in (
                ("The file", ("ETag", "Accept-Ranges")),
                ("The range that was asked for", ("ETag", "Accept-Ranges", "Content-Range")),
            )
        )
        self.responses = {**(self.responses or {}), "200": whole, "206": part}


def answer(request: Request[Any, Any, Any], blobs: Blobs, blob: Blob, name: str = "") -> Stream:
    """Return the answer that sends a file, whole or in part.

    Args:
        name: under which a browser would save it.
    """
    headers = about(blob, name)
    etag = headers["ETag"]
    status, part = 200, ranges.Slice(0, blob.size_bytes)
    try:
        wanted = ranges.wanted(request.headers.get("range"), request.headers.get("if-range"), etag, blob.size_bytes)
    except ranges.UnsatisfiableError:
        raise HTTPException(
            status_code=416,
            detail=f"the file has {blob.size_bytes} bytes",
            headers={"Content-Range": f"bytes */{blob.size_bytes}"},
        ) from None
    if wanted is not None:
        status, part = 206, wanted
        headers["Content-Range"] = wanted.content_range(blob.size_bytes)
    headers["Content-Length"] = str(part.size_bytes)
    pieces = blobs.read(blob.sha256, part.start, part.end)
    return Stream(pieces, media_type=OCTETS, status_code=status, headers=headers)


def about(blob: Blob, name: str) -> dict[str, str]:
    """Return the headers that tell of a whole file."""
    return {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}" if name else "attachment",
        "Content-Length": str(blob.size_bytes),
        "ETag": f'"{blob.sha256}"',
        "X-Content-Type-Options": "nosniff",
    }


def _header(name: str, about: str, example: str) -> DocumentedParameter:
    schema = Schema(type=OpenAPIType.STRING, examples=[example])
    return DocumentedParameter(name=name, param_in="header", required=False, description=about, schema=schema)

"""What uploads of accounts and of attempts have in common: tus requests read, and its answers written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any

from litestar import MediaType, Request, Response
from litestar.types import Message, Scope

from edgeagent import chance
from edgeagent.gateway import tus
from edgeagent.gateway.api.errors import refuse
from edgeagent.gateway.arriving import ChecksumError, TooLongError
from edgeagent.gateway.blocking import BlobsUnavailableError
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.store import StoreUnavailableError
from edgeagent.gateway.store.uploads import NoRoomError, OtherSizeError, Owner, TooManyUploadsError, Upload
from edgeagent.gateway.uploads import (
    DigestError,
    ExpiredError,
    NoUploadError,
    OffsetError,
    TakenOverError,
)

AnyRequest = Request[Any, Any, Any]

_HEX = frozenset("0123456789abcdef")
_OVERRIDES = frozenset({b"DELETE", b"HEAD", b"PATCH"})


class _BrokenOffError(Exception):
    """The client went away in the middle."""


class _Body:
    """A request's body as it comes; an iterator, not a generator, which would have to be closed."""

    def __init__(self, request: AnyRequest) -> None:
        self._receive, self._over = request.receive, False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        event = await self._receive()
        if event["type"] != "http.request":
            raise _BrokenOffError
        self._over = not event.get("more_body", False)
        return event.get("body", b"")


async def create(request: AnyRequest, hub: Hub, owner: Owner, root: str) -> Response[None]:
    """Answer POST: an upload from now on, with what of it came along.

    Args:
        root: the path that the upload's own is under.
    """
    with refusing():
        tus.check_version(request.headers.get("tus-resumable"))
        length = tus.parse_length(request.headers.get("upload-length"))
        metadata = tus.parse_metadata(request.headers.get("upload-metadata"))
        new = Upload(
            upload_id=chance.new_id(),
            owner=owner,
            name=_name(metadata, owner),
            sha256=_digest(metadata),
            length=length,
            metadata=request.headers.get("upload-metadata", ""),
        )
        checksum = tus.parse_checksum(request.headers.get("upload-checksum"))
        body = _announced(request)
        if body != 0:
            tus.check_type(request.headers.get("content-type"))
        if body is not None and body > length:
            raise TooLongError
        upload = await hub.uploads.begin(new)
        if body != 0 and not upload.finished:
            upload = await hub.uploads.append(upload.upload_id, owner, 0, _Body(request), checksum)
    await _tidy(hub, upload)
    location = {"Location": f"{root}/{upload.upload_id}"}
    return Response(None, media_type=MediaType.TEXT, status_code=201, headers={**_standing(upload), **location})


async def look(request: AnyRequest, hub: Hub, owner: Owner, upload_id: str) -> Response[None]:
    """Answer HEAD: how far an upload is."""
    with refusing():
        tus.check_version(request.headers.get("tus-resumable"))
        upload = await hub.uploads.show(upload_id, owner)
    headers = {**_standing(upload), "Upload-Length": str(upload.length), "Cache-Control": "no-store"}
    if upload.metadata:
        headers["Upload-Metadata"] = upload.metadata
    return Response(None, media_type=MediaType.TEXT, status_code=200, headers=headers)


async def append(request: AnyRequest, hub: Hub, owner: Owner, upload_id: str) -> Response[None]:
    """Answer PATCH: the next piece of an upload."""
    with refusing():
        tus.check_version(request.headers.get("tus-resumable"))
        tus.check_type(request.headers.get("content-type"))
        offset = tus.parse_offset(request.headers.get("upload-offset"))
        checksum = tus.parse_checksum(request.headers.get("upload-checksum"))
        upload = await hub.uploads.append(upload_id, owner, offset, _Body(request), checksum, _announced(request))
    await _tidy(hub, upload)
    return Response(None, status_code=204, headers=_standing(upload))


async def end(request: AnyRequest, hub: Hub, owner: Owner, upload_id: str) -> None:
    """Answer DELETE: the upload is over."""
    with refusing():
        tus.check_version(request.headers.get("tus-resumable"))
        await hub.uploads.end(upload_id, owner)


def options(allowed: str) -> Response[None]:
    """Answer OPTIONS: what of tus there is."""
    headers = {
        "Allow": allowed,
        "Tus-Version": tus.VERSION,
        "Tus-Extension": tus.EXTENSIONS,
        "Tus-Max-Size": str(tus.MAX_LENGTH),
        "Tus-Checksum-Algorithm": ",".join(tus.ALGORITHMS),
    }
    return Response(None, status_code=204, headers=headers)


def take_method(scope: MutableMapping[str, Any]) -> None:
    """Let a POST to an upload stand for the method that X-HTTP-Method-Override names, as the standard demands."""
    if scope["type"] == "http" and scope["method"] == "POST" and "/uploads/" in scope["path"]:
        for name, value in scope["headers"]:
            if name.lower() == b"x-http-method-override" and value in _OVERRIDES:
                scope["method"] = value.decode()


async def mark(message: Message, scope: Scope) -> None:
    """Say in every answer of a path for uploads that it is tus, as the standard demands."""
    if message["type"] == "http.response.start" and "/uploads" in scope["path"]:
        headers = [(b"tus-resumable", tus.VERSION.encode())]
        if message["status"] == 412:
            headers.append((b"tus-version", tus.VERSION.encode()))
        message["headers"] = [*message["headers"], *headers]


#: What each fault is answered with; a text of None is the fault's own.
_ANSWERS: dict[type[Exception], tuple[int, str | None]] = {
    NoUploadError: (404, "there is no such upload; begin it again"),
    LookupError: (404, "this node holds no such attempt, or its job has ended"),
    ExpiredError: (410, "nothing came for too long; begin the upload again"),
    TakenOverError: (409, "a newer request goes on with this upload"),
    OffsetError: (409, None),
    TooLongError: (413, "that is more than the Upload-Length announced"),
    OtherSizeError: (422, "Upload-Length: the file of this digest has another size"),
    NoRoomError: (413, None),
    TooManyUploadsError: (429, None),
    ChecksumError: (tus.CHECKSUM_MISMATCH, "Upload-Checksum: something else arrived; send this piece again"),
    DigestError: (422, None),
    _BrokenOffError: (400, "the body broke off"),
}


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what can be wrong with an upload into answers."""
    try:
        yield
    except tus.TusError as error:
        raise refuse(error.status, str(error)) from None
    except tuple(_ANSWERS) as error:
        status, text = _ANSWERS[type(error)]
        raise refuse(status, text or str(error)) from None


async def _tidy(hub: Hub, upload: Upload) -> None:
    """Remove what an output took the place of: its room is free again, so its bytes must be too."""
    if upload.replaced is not None:
        with suppress(StoreUnavailableError, BlobsUnavailableError):  # the next sweep removes it
            await hub.collector.remove([upload.replaced])


def _standing(upload: Upload) -> dict[str, str]:
    headers = {"Upload-Offset": str(upload.offset)}
    if not upload.finished:
        headers["Upload-Expires"] = tus.expires(upload.expires_at)
    return headers


def _announced(request: AnyRequest) -> int | None:
    """Return how long the body is; None where it comes in chunks."""
    if "transfer-encoding" in request.headers:
        return None
    length = request.headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0


def _digest(metadata: Mapping[str, str]) -> str:
    digest = metadata.get("sha256", "").lower()
    if len(digest) != 64 or not _HEX.issuperset(digest):
        raise tus.TusError(422, "Upload-Metadata: sha256, the file's digest in 64 hex digits, is needed")
    return digest


def _name(metadata: Mapping[str, str], owner: Owner) -> str:
    """Return the output's name; of an account's file its name for people, which may be missing."""
    if owner.attempt_id is None:
        return "".join(one for one in metadata.get("filename", "") if one.isprintable())[:255]
    name = metadata.get("name", "")
    if not 1 <= len(name) <= 255 or "/" in name or "\0" in name or name in (".", ".."):
        raise tus.TusError(422, "Upload-Metadata: name, a file name of 1 to 255 characters, is needed")
    return name

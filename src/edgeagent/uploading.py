"""A submitter's file to the gateway by tus 1.0, whatever the network does: what has arrived is not sent again.

The gateway knows which uploads an account has in progress, so one that was cut off with its client is gone on with too,
and nothing is kept on this machine.  ``client.Client.upload`` calls it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import trio

from edgeagent.errors import EdgeAgentError, UnreachableError, UsageError
from edgeagent.patience import Patience
from edgeagent.rest import Json, Rest
from edgeagent.wire.urls import API_PREFIX

_PIECE_BYTES = 1 << 20
_TUS = {"Tus-Resumable": "1.0.0"}
#: The upload is not there any more; it stands elsewhere, or somebody else has it; the file is not what was announced.
_GONE, _ELSEWHERE, _WRONG = (404, 410), 409, 422

#: Told how many bytes of how many have arrived.
Moved = Callable[[int, int], None]


def check(path: Path) -> int:
    """Return the size of a file that is to be uploaded.

    Raises:
        UsageError: it cannot be.
    """
    try:
        with path.open("rb") as file:
            if not path.is_file():
                raise UsageError(f"{path} is not a file")
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


async def upload(rest: Rest, path: Path, moved: Moved) -> Json:
    """Upload a file, or what is missing of it; return its ``ref``, ``sha256``, ``name`` and ``size_bytes``.

    Raises:
        UsageError: it cannot be read.
        RefusedError: the gateway will not take it; the text says why.
        UnreachableError: it did not arrive, however often it was tried.
        EdgeAgentError: it has changed while it was read.
    """
    return await _Upload(rest, path, await trio.to_thread.run_sync(check, path), moved).run()


class _Upload:
    def __init__(self, rest: Rest, path: Path, size: int, moved: Moved) -> None:
        self._rest, self._path, self._size, self._moved = rest, path, size, moved
        self._sha256 = ""

    async def run(self) -> Json:
        self._sha256 = await trio.to_thread.run_sync(self._digest)
        name = os.fsencode(self._path.name).decode(errors="replace")
        place, offset = await self._left_over() or await self._begin(name)
        patience = Patience()
        while True:
            self._moved(offset, self._size)
            try:
                if offset < self._size:
                    offset = await self._send(place, offset)
                if offset == self._size:
                    break
            except UnreachableError as error:
                await patience.wait(error, offset)
            with contextlib.suppress(UnreachableError):  # then the next piece finds that out
                place, offset = await self._stands(place) or await self._begin(name)
        ref = f"sha256:{self._sha256}"
        return {"ref": ref, "sha256": self._sha256, "name": name, "size_bytes": self._size}

    async def _left_over(self) -> tuple[str, int] | None:
        """Return where an upload of the same file is that nobody sends any more, and how far."""
        for one in (await self._rest.call("GET", "/uploads"))["uploads"]:
            if (one["sha256"], one["size_bytes"], one["active"]) == (self._sha256, self._size, False):
                return await self._stands(str(one["location"]).removeprefix(API_PREFIX))
        return None

    async def _begin(self, name: str) -> tuple[str, int]:
        told = {"sha256": self._sha256, "filename": name}
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())
        headers = {**_TUS, "Upload-Length": str(self._size), "Upload-Metadata": metadata}
        async with self._rest.stream("POST", "/uploads", headers=headers) as answer:
            place = urlsplit(answer.headers.get("location", "")).path.removeprefix(API_PREFIX)
            if not place.startswith("/uploads/"):
                raise UnreachableError("the gateway began an upload, but did not say where")
            return place, self._offset(answer)

    async def _stands(self, place: str) -> tuple[str, int] | None:
        async with self._rest.stream("HEAD", place, taken=_GONE, headers=_TUS) as answer:
            if answer.status_code in _GONE:
                return None
            return place, self._offset(answer)

    async def _send(self, place: str, offset: int) -> int:
        headers = {
            **_TUS,
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(self._size - offset),
            "Upload-Offset": str(offset),
        }
        taken, body = (*_GONE, _ELSEWHERE, _WRONG), self._pieces(offset)
        async with self._rest.stream("PATCH", place, taken=taken, headers=headers, content=body) as answer:
            if answer.status_code == _WRONG and await trio.to_thread.run_sync(self._digest) != self._sha256:
                raise EdgeAgentError(f"{self._path} was written to while it was uploaded; upload it again")
            if not answer.is_success:
                raise UnreachableError("the upload does not stand where it did")
            return self._offset(answer)

    async def _pieces(self, offset: int) -> AsyncIterator[bytes]:
        async with await trio.open_file(self._path, "rb") as file:
            await file.seek(offset)
            while offset < self._size:
                piece = await file.read(min(_PIECE_BYTES, self._size - offset))
                if not piece:
                    raise EdgeAgentError(f"{self._path} is shorter than it was when its upload began")
                yield piece
                offset += len(piece)
                self._moved(offset, self._size)

    def _offset(self, answer: httpx2.Response) -> int:
        text = answer.headers.get("upload-offset", "")
        if not text.isdecimal() or int(text) > self._size:
            raise UnreachableError("the gateway does not say how far the upload is")
        return int(text)

    def _digest(self) -> str:
        try:
            with self._path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UsageError(f"{self._path} cannot be read: {error.strerror}") from None

"""Outputs to the gateway by tus 1.0: what has arrived there need not be sent again, whatever was cut or killed.

One call is one try.  Where an upload stands is known by the gateway; where it is, is in a small file beside the output,
so a node that was killed goes on with it.  A small file is created and sent in one request, with a checksum: so what a
line has spoiled is told apart from what the gateway will never take.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx2
import trio

from edgeagent.errors import RefusedError, UnreachableError
from edgeagent.node import files
from edgeagent.node.throttle import FREE, Throttle
from edgeagent.rest import Rest
from edgeagent.wire.messages import Output
from edgeagent.wire.urls import API_PREFIX

#: Largest file that goes with the request which creates its upload, in bytes.
SMALL_BYTES = 1 << 20
#: Times that a file which arrives wrong is sent from its beginning, within one try.
MOST_SPOILED = 3
_PIECE_BYTES = 256 << 10
_TUS = {"Tus-Resumable": "1.0.0"}
_BODY = {"Content-Type": "application/offset+octet-stream"}
#: The upload is not there any more; it stands elsewhere than we think; the whole file, or a piece, arrived wrong.
_GONE, _ELSEWHERE, _WRONG, _SPOILED = (404, 410), 409, 422, 460


async def put(rest: Rest, token: str, attempt_id: str, output: Output, path: Path, throttle: Throttle = FREE) -> None:
    """Upload one output file of an attempt, or what is missing of it, as fast as ``throttle`` allows.

    Raises:
        RefusedError: the gateway will never take it.
        UnreachableError: it did not arrive this time.
        OSError: the file cannot be read.
    """
    for _ in range(MOST_SPOILED):
        try:
            await _Upload(rest, token, attempt_id, output, path, throttle).run()
        except _SpoiledError:
            continue
        return
    raise RefusedError(f"the file arrived wrong {MOST_SPOILED} times")


class _SpoiledError(Exception):
    """Other bytes arrived than lie here."""


class _Upload:
    def __init__(self, rest: Rest, token: str, attempt_id: str, output: Output, path: Path, throttle: Throttle) -> None:
        self._rest, self._output, self._path, self._throttle = rest, output, path, throttle
        self._root = f"/attempts/{quote(attempt_id, safe='')}/uploads"
        self._headers = {"Authorization": f"Bearer {token}", **_TUS}
        self._note = path.with_name(f"{path.name}.upload")  # where the upload is

    async def run(self) -> None:
        if (await trio.Path(self._path).stat()).st_size != self._output.size_bytes:
            raise RefusedError("the file has changed since the job ended")
        place, offset = await self._stands()
        if place is None:
            place, offset = await self._create()
        while offset < self._output.size_bytes:
            offset = await self._send(place, offset)
        await trio.to_thread.run_sync(self._forget)

    async def _stands(self) -> tuple[str | None, int]:
        """Return where an upload from before is, and how far; None where there is none."""
        try:
            place = await trio.to_thread.run_sync(self._note.read_text)
        except (FileNotFoundError, UnicodeDecodeError):
            return None, 0
        if not place.startswith(f"{self._root}/"):
            return None, 0
        async with self._rest.stream("HEAD", place, taken=_GONE, headers=self._headers) as answer:
            if answer.status_code in _GONE:
                return None, 0
            return place, self._offset(answer)

    async def _create(self) -> tuple[str, int]:
        size = self._output.size_bytes
        metadata = {"name": self._output.name, "sha256": self._output.sha256}
        pairs = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items())
        headers = {**self._headers, "Upload-Length": str(size), "Upload-Metadata": pairs}
        request: dict[str, object] = {"headers": headers}
        if 0 < size <= SMALL_BYTES:
            request = {
                "headers": {**headers, **_BODY, **self._checksum(), "Content-Length": str(size)},
                "content": _pieces(self._path, 0, self._throttle),
            }
        async with self._rest.stream("POST", self._root, taken=(_SPOILED,), **request) as answer:
            await self._check_arrived(answer)
            place = urlsplit(answer.headers.get("location", "")).path.rpartition(API_PREFIX)[2]
            if not place.startswith(f"{self._root}/"):
                raise UnreachableError("the gateway began an upload, but did not say where")
            offset = self._offset(answer)
        if offset < size:
            await trio.to_thread.run_sync(files.write, self._note, place.encode(), 0o600)
        return place, offset

    async def _send(self, place: str, offset: int) -> int:
        """Send what is missing and return how far the upload is then."""
        left = self._output.size_bytes - offset
        headers = {**self._headers, **_BODY, "Upload-Offset": str(offset), "Content-Length": str(left)}
        body = _pieces(self._path, offset, self._throttle)
        taken = (*_GONE, _ELSEWHERE, _WRONG)
        async with self._rest.stream("PATCH", place, taken=taken, headers=headers, content=body) as answer:
            if answer.status_code in _GONE:
                await trio.to_thread.run_sync(self._forget)
            if answer.status_code in (*_GONE, _ELSEWHERE):
                raise UnreachableError("the upload does not stand where it did")
            await self._check_arrived(answer)
            arrived = self._offset(answer)
        if arrived <= offset:
            raise UnreachableError("the gateway took nothing of the upload")
        return arrived

    async def _check_arrived(self, answer: httpx2.Response) -> None:
        """Tell bytes that were spoiled on the way from a file that is not what it was."""
        if answer.status_code not in (_WRONG, _SPOILED):
            return
        await trio.to_thread.run_sync(self._forget)
        if await trio.to_thread.run_sync(self._digest) == self._output.sha256:
            raise _SpoiledError
        raise RefusedError("the file has changed since the job ended")

    def _checksum(self) -> dict[str, str]:
        return {"Upload-Checksum": f"sha256 {base64.b64encode(bytes.fromhex(self._output.sha256)).decode()}"}

    def _offset(self, answer: httpx2.Response) -> int:
        text = answer.headers.get("upload-offset", "")
        if not text.isdecimal() or int(text) > self._output.size_bytes:
            raise UnreachableError("the gateway does not say how far the upload is")
        return int(text)

    def _digest(self) -> str:
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _forget(self) -> None:
        self._note.unlink(missing_ok=True)


async def _pieces(path: Path, offset: int, throttle: Throttle) -> AsyncIterator[bytes]:
    async with await trio.open_file(path, "rb") as file:
        await file.seek(offset)
        while piece := await file.read(throttle.piece(_PIECE_BYTES)):
            await throttle.take(len(piece))
            yield piece

"""The node's calls to the gateway's REST API: register, and hand over a job's outputs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self
from urllib.parse import quote

import trio

from edgeagent.errors import UnreachableError
from edgeagent.rest import Json, Rest
from edgeagent.wire.messages import Output
from edgeagent.wire.urls import GatewayUrl

_PIECE_BYTES = 256 << 10


class Api:
    """One gateway as the node sees it; use it as an async context manager."""

    def __init__(self, gateway: GatewayUrl) -> None:
        self._gateway = gateway
        self._rest = Rest(gateway)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._rest.__aexit__(*failure)

    async def register(self, body: Json) -> Json:
        """Register a node and return the gateway's answer, in which ``node_id`` and ``token`` are texts.

        Raises:
            RefusedError: the gateway says no (409, 403, 422 ...), in its words.
            UnreachableError: no gateway answered.
        """
        answer = await self._rest.call("POST", "/nodes/register", json=body)
        if not all(isinstance(answer.get(key), str) for key in ("node_id", "token")):
            raise UnreachableError(f"{self._gateway} does not answer as an edgeagent gateway does; check the address")
        return answer

    async def put_output(self, token: str, attempt_id: str, output: Output, path: Path) -> None:
        """Upload one output file of an attempt; repeating it is harmless.

        Raises:
            RefusedError: the gateway will never take it.
            UnreachableError: it did not arrive this time.
            OSError: the file cannot be read.
        """
        await self._rest.call(
            "PUT",
            f"/attempts/{quote(attempt_id, safe='')}/outputs/{quote(output.name, safe='')}",
            params={"sha256": output.sha256},
            headers={"Authorization": f"Bearer {token}", "Content-Length": str(output.size_bytes)},
            content=_pieces(path),
        )


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    async with await trio.open_file(path, "rb") as file:
        while piece := await file.read(_PIECE_BYTES):
            yield piece

"""The node's calls to the gateway's REST API: register, and hand over a job's outputs.

Every answer becomes a value or one of the faults in ``edgeagent.errors``; the gateway's own ``detail`` line is what
the operator gets to read.  Tokens go into headers only.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import trio

from edgeagent.errors import EdgeAgentError, RefusedError, UnreachableError, UsageError
from edgeagent.wire.messages import Output
from edgeagent.wire.urls import GatewayUrl

#: Seconds without a byte before a call is given up; a gateway that stores an upload answers well within.
TIMEOUT_S = 30.0
_PIECE_BYTES = 256 << 10


class Api:
    """One gateway's REST API over one pool of connections; use it as an async context manager."""

    def __init__(self, gateway: GatewayUrl) -> None:
        self.gateway = gateway
        self._client = httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def register(self, body: dict[str, Any]) -> dict[str, Any]:
        """Register a node and return the gateway's answer.

        Raises:
            RefusedError: the gateway says no (409, 403, 422 ...), in its words.
            UnreachableError: no gateway answered.
        """
        response = await self._send("POST", "/nodes/register", json=body)
        answer = self._document(response)
        if not all(isinstance(answer.get(key), str) for key in ("node_id", "token")):
            raise UnreachableError(f"{self.gateway} did not answer as a gateway does; check the address")
        return answer

    async def put_output(self, token: str, attempt_id: str, output: Output, path: Path) -> None:
        """Upload one output file of an attempt; repeating it is harmless.

        Raises:
            RefusedError: the gateway will never take it.
            UnreachableError: it did not arrive this time.
        """
        await self._send(
            "PUT",
            f"/attempts/{quote(attempt_id, safe='')}/outputs/{quote(output.name, safe='')}",
            params={"sha256": output.sha256},
            headers={"Authorization": f"Bearer {token}", "Content-Length": str(output.size_bytes)},
            content=_pieces(path),
        )

    async def _send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        try:
            response = await self._client.request(method, self.gateway.rest + path, **request)
        except httpx2.InvalidURL as error:
            raise UsageError(f"{self.gateway} is not an address: {error}") from None
        except httpx2.TransportError as error:
            raise UnreachableError(f"{self.gateway} did not answer: {explain(error)}") from None
        if response.is_success:
            return response
        detail = self._detail(response)
        if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
            raise RefusedError(detail)
        raise UnreachableError(f"{self.gateway} cannot serve this now: {detail}")

    def _detail(self, response: httpx2.Response) -> str:
        try:
            detail = self._document(response).get("detail")
        except EdgeAgentError:
            detail = None
        if isinstance(detail, str) and detail:
            return " ".join(detail.split())[:1000]
        return f"HTTP {response.status_code} {response.reason_phrase}"

    def _document(self, response: httpx2.Response) -> dict[str, Any]:
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise UnreachableError(f"{self.gateway} did not answer as a gateway does; check the address")
        return document


def explain(error: BaseException) -> str:
    """Return the reason at the bottom of a network fault, in the words of the system: ``Connection refused``."""
    while True:
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__
        if inner is None:
            break
        error = inner
    if isinstance(error, OSError) and error.strerror:
        named_by_system = error.errno in errno.errorcode and not isinstance(error, ssl.SSLError | socket.gaierror)
        return os.strerror(error.errno) if named_by_system and error.errno else error.strerror
    return str(error) or type(error).__name__


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    async with await trio.open_file(path, "rb") as file:
        while piece := await file.read(_PIECE_BYTES):
            yield piece

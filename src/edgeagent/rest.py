"""Calls to a gateway's REST API, with every fault turned into one that a person can act on.

The submitter's client, the node and the demo all speak through this.  Tokens go into headers only, and the gateway's
own ``detail`` line is what the person gets to read.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx2

from edgeagent import connections
from edgeagent.errors import RefusedError, UnreachableError
from edgeagent.wire.urls import GatewayUrl

#: Seconds without a byte before a call is given up; a gateway that stores an upload answers well within.
TIMEOUT_S = 30.0

Json = dict[str, Any]


class Rest:
    """One gateway's REST API over one pool of connections; use it as an async context manager.

    Every call raises ``RefusedError`` when the gateway says no for good (HTTP 4xx) and ``UnreachableError`` when it
    did not answer, or says that it cannot now.
    """

    def __init__(self, gateway: GatewayUrl, token: str | None = None) -> None:
        self.gateway = gateway
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Without TLS there is nobody to trust, and to read this machine's authorities takes longer than a call.
        trust = True if gateway.secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._http = connections.client(base_url=gateway.rest, headers=headers, timeout=TIMEOUT_S, verify=trust)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._http.aclose()

    async def call(self, method: str, path: str, **request: Any) -> Json:
        """Send one request (as httpx2 takes it) and return the JSON object of the answer."""
        async with self.stream(method, path, **request) as response:
            await response.aread()
            return self._document(response)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, taken: Container[int] = (), **request: Any
    ) -> AsyncIterator[httpx2.Response]:
        """Send one request and give the answer while its body is to be read; statuses in ``taken`` are no fault."""
        try:
            async with self._http.stream(method, path, **request) as response:
                if not response.is_success and response.status_code not in taken:
                    await response.aread()
                    raise self._fault(response)
                yield response
        except (httpx2.TransportError, UnicodeError) as error:  # UnicodeError: a label that no host name may have
            why = explain(error)
            raise UnreachableError(f"no answer from the gateway at {self.gateway} ({why}); check the address") from None

    def _fault(self, response: httpx2.Response) -> RefusedError | UnreachableError:
        try:
            detail = self._document(response).get("detail")
        except UnreachableError:
            detail = None
        line = " ".join(str(detail).split())[:1000] if detail else f"HTTP {response.status_code}"
        if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
            return RefusedError(f"the gateway says no: {line}")
        return UnreachableError(f"the gateway at {self.gateway} cannot serve this now: {line}")

    def _document(self, response: httpx2.Response) -> Json:
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise UnreachableError(f"{self.gateway} does not answer as an edgeagent gateway does; check the address")
        return document


def explain(error: BaseException) -> str:
    """Return the reason at the bottom of a network fault, in the words of the system: ``Connection refused``."""
    while True:
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__
        if inner is None:
            break
        error = inner
    if isinstance(error, OSError) and error.strerror:
        # trio writes the address into strerror; TLS and name lookups have numbers of their own.
        by_system = error.errno in errno.errorcode and not isinstance(error, ssl.SSLError | socket.gaierror)
        return os.strerror(error.errno) if by_system and error.errno else error.strerror
    return str(error) or type(error).__name__

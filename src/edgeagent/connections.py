"""HTTP connections of which nothing is left open when whoever waits for them is cancelled.

httpcore2's trio backend closes a connection whose TLS set-up fails, and leaves one whose set-up is cancelled to the
collector.  Every HTTP client of this package is opened over ``Closing``: ``client`` for what a gateway is asked,
``node.fetch.guarded`` for strangers' references.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2
import trio


def client(**options: Any) -> httpx2.AsyncClient:
    """Return an HTTP client with these options of httpx2's; it keeps to the proxies of the environment."""
    http = httpx2.AsyncClient(**options)
    for transport in (http._transport, *http._mounts.values()):  # no option of httpx2's says how to connect
        if isinstance(transport, httpx2.AsyncHTTPTransport):
            transport._pool._network_backend = Connecting()
    return http


class Connecting(httpcore2.AsyncNetworkBackend):
    """Opens connections by trio, as ``Closing`` streams."""

    def __init__(self) -> None:
        self._backend: Any = httpcore2.TrioBackend()  # what it is where trio is missing confuses type checkers

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect; raises what httpcore2's own backend does."""
        return Closing(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        """Sleep, between two tries."""
        await trio.sleep(seconds)


class Closing(httpcore2.AsyncNetworkStream):
    """A stream that is closed when setting up TLS over it is cancelled."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Return the same, encrypted."""
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):  # a socket is closed without waiting
                await self.aclose()
            raise

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return some bytes."""
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of them."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Return what the stream knows of itself."""
        return self._stream.get_extra_info(info)

"""Whom a client of a gateway believes: with TLS this machine's authorities, without it nobody."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trustme

from edgeagent.errors import UnreachableError
from edgeagent.rest import Rest
from edgeagent.wire.urls import GatewayUrl


async def _answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
    try:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    except trio.BrokenResourceError:
        pass  # whoever does not believe it goes away


@pytest.fixture
async def trusted(nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a server with a certificate that this machine trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    (listener,) = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1", https_compatible=True)
    nursery.start_soon(trio.serve_listeners, _answer, [listener])
    return f"https://localhost:{listener.transport_listener.socket.getsockname()[1]}"


async def test_a_gateway_with_tls_is_believed_by_this_machines_authorities(trusted: str) -> None:
    """The counterproof to the next."""
    async with Rest(GatewayUrl.parse(trusted)) as rest:
        assert await rest.call("GET", "/health") == {}


async def test_whoever_a_gateway_without_tls_leads_to_by_tls_is_not_believed(trusted: str) -> None:
    """No authorities are read for it, and that ends in a refusal, not in blind trust."""
    async with Rest(GatewayUrl.parse("http://localhost:1"), "token") as rest:
        with pytest.raises(UnreachableError, match="certificate"):
            await rest.call("GET", f"{trusted}/health")

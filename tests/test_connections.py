"""No socket of an HTTP client is left to the interpreter, which may come to it in the middle of something else."""

from __future__ import annotations

import functools
import gc
import ssl
import warnings
from collections.abc import Awaitable, Callable

import httpx2
import pytest
import trio
import trustme

from edgeagent import connections
from edgeagent.node import clockcheck
from edgeagent.rest import Rest
from edgeagent.wire.urls import GatewayUrl

_CONNECT = b"CONNECT "


class Silent:
    """Takes connections and never answers them; as a proxy it opens the way, and is silent behind it."""

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.port = 0

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        await trio.serve_listeners(self._take, [listener], task_status=task_status)

    async def serve_https_proxy(self, authority: trustme.CA, *, task_status: trio.TaskStatus[None]) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        (listener,) = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1", https_compatible=True)
        self.port = listener.transport_listener.socket.getsockname()[1]
        await trio.serve_listeners(self._take, [listener], task_status=task_status)

    async def _take(self, stream: trio.abc.Stream) -> None:
        said = await stream.receive_some()
        if said.startswith(_CONNECT):
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            await stream.receive_some()
        self.asked.set()
        await trio.sleep_forever()


@pytest.fixture
async def silent(nursery: trio.Nursery) -> Silent:
    """A server that is silent."""
    server = Silent()
    await nursery.start(server.serve)
    return server


async def _left_over(silent: Silent, ask: Callable[[], Awaitable[object]]) -> list[str]:
    """Return what is said of things that were left open by a call that is cancelled while TLS is set up."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        async with trio.open_nursery() as asking:
            asking.start_soon(ask)
            await silent.asked.wait()
            asking.cancel_scope.cancel()
        gc.collect()
    return [str(each.message) for each in said]


async def test_a_call_to_a_gateway_that_is_cancelled_closes_its_connection(silent: Silent) -> None:
    """Of the node, of a submitter, and of an upload: all are ``Rest``."""

    async def call() -> None:
        async with Rest(GatewayUrl.parse(f"https://127.0.0.1:{silent.port}")) as rest:
            await rest.call("GET", "/nodes/me")

    assert [] == await _left_over(silent, call)


async def test_a_look_at_the_gateways_clock_that_is_cancelled_closes_its_connection(silent: Silent) -> None:
    """It is asked without verification, by a client of its own."""
    gateway = GatewayUrl.parse(f"https://127.0.0.1:{silent.port}")

    assert [] == await _left_over(silent, functools.partial(clockcheck.compare, gateway))


async def test_a_call_through_a_proxy_of_the_environment_closes_its_connection(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS is set up with the server behind it."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{silent.port}")

    async def call() -> None:
        async with connections.client() as http:
            await http.get("https://gateway.example.com/")

    assert [] == await _left_over(silent, call)


async def test_a_call_through_a_proxy_that_is_itself_asked_by_https_closes_its_connection(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over one TLS that stands, another one is set up."""
    proxy, authority = Silent(), trustme.CA()
    await nursery.start(proxy.serve_https_proxy, authority)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def call() -> None:
        way = httpx2.Proxy(f"https://127.0.0.1:{proxy.port}", ssl_context=trusting)
        async with connections.client(proxy=way) as http:
            await http.get("https://gateway.example.com/")

    assert [] == await _left_over(proxy, call)

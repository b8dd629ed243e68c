"""No socket of an HTTP client is left to the interpreter, which may come to it in the middle of something else."""

from __future__ import annotations

import functools
import gc
import warnings
from collections.abc import Awaitable, Callable

import pytest
import trio

from edgeagent import connections
from edgeagent.node import clockcheck
from edgeagent.rest import Rest
from edgeagent.wire.urls import GatewayUrl


class Silent:
    """Takes connections, hears how TLS begins, and never answers."""

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.port = 0

    async def serve(self, *, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        await trio.serve_listeners(self._take, [listener], task_status=task_status)

    async def _take(self, stream: trio.abc.Stream) -> None:
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


async def test_a_call_by_a_proxy_of_the_environment_closes_its_connection(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is itself asked by https."""
    monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{silent.port}")

    async def call() -> None:
        async with connections.client() as http:
            await http.get("https://gateway.example.com/")

    assert [] == await _left_over(silent, call)

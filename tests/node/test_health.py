"""``/health`` over a real port."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio

import plain_http
from edgeagent.errors import EdgeAgentError
from edgeagent.node import health


class Bench:
    """A health server whose link the test switches."""

    def __init__(self) -> None:
        self.connected = True
        self.url = ""


@pytest.fixture
async def bench(nursery: trio.Nursery) -> AsyncIterator[Bench]:
    """A health server on a free port."""
    bench = Bench()
    bench.url = await nursery.start(health.run, health.listen("127.0.0.1", 0), lambda: bench.connected)
    return bench


async def test_a_linked_node_is_healthy(bench: Bench) -> None:
    """The guide's three keys, and a whole number of seconds."""
    with trio.fail_after(10):
        async with plain_http.client() as client:
            response = await client.get(bench.url)

    assert 200 == response.status_code
    assert "application/json" == response.headers["content-type"]
    assert {"status": "healthy", "relay_connected": True, "uptime_seconds": 0} == response.json()


async def test_without_a_link_it_is_degraded(bench: Bench) -> None:
    """503, which is what container health checks look at."""
    bench.connected = False
    with trio.fail_after(10):
        async with plain_http.client() as client:
            response = await client.get(bench.url)

    assert 503 == response.status_code
    assert ("degraded", False) == (response.json()["status"], response.json()["relay_connected"])


async def test_anything_else_is_not_there(bench: Bench) -> None:
    """One path, two methods."""
    with trio.fail_after(10):
        async with plain_http.client() as client:
            statuses = [
                (await client.request(method, bench.url.replace("/health", path))).status_code
                for method, path in [("GET", "/"), ("GET", "/healthy"), ("POST", "/health"), ("HEAD", "/health")]
            ]

    assert [404, 404, 405, 200] == statuses


def test_a_port_in_use_is_one_clear_line() -> None:
    """It names the port and the variable."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(EdgeAgentError, match=rf"port {port} on 127\.0\.0\.1 is in use.*HEALTH_PORT"):
            health.listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_one_clear_line() -> None:
    """192.0.2.1 is nobody's (RFC 5737)."""
    with pytest.raises(EdgeAgentError, match="not an address of this machine"):
        health.listen("192.0.2.1", 0)

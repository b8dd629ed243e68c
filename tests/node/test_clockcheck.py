"""A wrong clock is named as such where certificates and tokens are refused, and nowhere else."""

from __future__ import annotations

import datetime
import functools
import random
import re
import ssl
import time
from email.utils import formatdate
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from gateway_peer import Gateway
from structlog.testing import capture_logs
from test_node_link import RecordingNode

from edgeagent.errors import RefusedError
from edgeagent.node import clockcheck
from edgeagent.node.backoff import Backoff
from edgeagent.node.outbox import Outbox
from edgeagent.node.relay import Relay
from edgeagent.node.session import Session
from edgeagent.node.transport import Connect, LinkLost, connect
from edgeagent.wire.urls import GatewayUrl

HOUR_S = 3600.0


def test_clocks_that_agree_are_not_spoken_of() -> None:
    """Up to a minute, which no certificate and no token minds."""
    assert [""] * 3 == [clockcheck.differ(1e9 + off, 1e9) for off in (0, 59, -59)]


def test_which_clock_is_ahead_is_said() -> None:
    """And what to type."""
    ahead, behind = clockcheck.differ(1e9 + 3 * HOUR_S, 1e9), clockcheck.differ(1e9 - 90, 1e9)

    assert ahead.startswith("this machine's clock is 3h ahead of the gateway's: set it (timedatectl set-ntp true)")
    assert behind.startswith("this machine's clock is 2m behind the gateway's")


@attrs.define
class Tls:
    """A server whose certificate has ended by this machine's clock, and that has another time."""

    port: int
    date: str = formatdate(time.time() - 30 * 24 * HOUR_S, usegmt=True)
    heads: list[bytes] = attrs.Factory(list)

    async def answer(self, context: ssl.SSLContext, below: trio.SocketStream) -> None:
        stream = trio.SSLStream(below, context, server_side=True, https_compatible=True)
        try:
            self.heads.append(await stream.receive_some(4096))
            await stream.send_all(f"HTTP/1.1 404 Not Found\r\nDate: {self.date}\r\nContent-Length: 0\r\n\r\n".encode())
        except trio.BrokenResourceError:
            pass  # who verifies goes away
        finally:
            await trio.aclose_forcefully(stream)


@pytest.fixture
async def tls(nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tls:
    """Its authority is trusted."""
    authority, now = trustme.CA(), datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", not_before=now - 60 * day, not_after=now - day).configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    tls = Tls(listener.socket.getsockname()[1])
    nursery.start_soon(trio.serve_listeners, functools.partial(tls.answer, context), [listener])
    return tls


def _relay(connect: Connect, clocks: str | GatewayUrl) -> Relay:
    node = RecordingNode()

    async def said() -> str:
        return await clockcheck.compare(clocks) if isinstance(clocks, GatewayUrl) else clocks

    backoff = Backoff(random.Random(1), first_s=0.01, longest_s=0.01)
    return Relay(connect, Session(node, Outbox()), node, backoff, clocks=said)


async def test_a_certificate_that_seems_too_old_is_put_down_to_the_clock(tls: Tls, nursery: trio.Nursery) -> None:
    """Over real TLS; the node goes on trying, and no token goes over the connection that is not verified."""
    gateway = GatewayUrl.parse(f"https://localhost:{tls.port}")
    relay = _relay(lambda: connect(gateway.relay("n1"), "the-token"), gateway)
    with capture_logs() as logs, trio.fail_after(60):
        nursery.start_soon(relay.run)
        while len(logs) < 2:  # noqa: ASYNC110
            await trio.sleep(0.01)

    assert "Gateway not reached, trying again" == logs[0]["event"]
    assert "certificate has expired" in logs[0]["reason"]
    assert re.search(r"this machine's clock is 30d\w* ahead of the gateway's", logs[0]["reason"])
    assert tls.heads
    assert all(head.startswith(b"HEAD ") and b"the-token" not in head for head in tls.heads if head)


@pytest.mark.parametrize("date", ["", "yesterday"])
async def test_a_gateway_that_does_not_tell_its_time(tls: Tls, date: str) -> None:
    """Then nothing is said of clocks."""
    tls.date = date

    assert "" == await clockcheck.compare(GatewayUrl.parse(f"https://localhost:{tls.port}"))


async def test_no_gateway_tells_no_time() -> None:
    """Nothing listens there."""
    assert "" == await clockcheck.compare(GatewayUrl.parse("http://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("said", "in_text"), [("the clock is off", "; the clock is off; "), ("", "no good; the token")]
)
async def test_a_refused_token_says_so_of_a_wrong_clock(said: str, in_text: str) -> None:
    """In the one line with which the node ends."""
    gateway = Gateway()
    gateway.refusals = [LinkLost(4001, "no good")]

    with pytest.raises(RefusedError) as raised:
        await _relay(gateway.connect, said).run()

    assert in_text in str(raised.value)
    assert "edgeagent register --force" in str(raised.value)

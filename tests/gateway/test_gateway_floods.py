"""Floods over real sockets against the gateway's own process: its memory stays, and a good node beside is served."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import attrs
import orjson
import pytest
import trio
from scripted import PortGateway, registration, submit
from scripted_node import Operator

from edgeagent.wire.messages import Outcome

#: Real seconds for a thousand connections and a job, on a machine that is busy.
LIMIT_S = 300.0
CROWD = 1000
#: Registrations a minute that the gateway here takes from all addresses together; the slowest machine answers more.
TOGETHER = 150
#: Addresses of this machine that a proxy and a crowd call from; the good node and submitter use another.
PROXY, CROWDED = "127.0.0.2", "127.0.0.3"
PAGE = os.sysconf("SC_PAGE_SIZE")


@attrs.frozen
class Besieged:
    """A gateway's process, a good node with its link, and a submitter's token."""

    gateway: PortGateway
    pid: int
    good: Operator
    account: str

    async def connect(self, address: str) -> trio.SocketStream:
        """Open a connection from this address."""
        port = int(self.gateway.url.rpartition(":")[2])
        return await trio.open_tcp_stream("127.0.0.1", port, local_address=address)

    def resident_bytes(self) -> int:
        """Return what it has in memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE

    async def serves(self) -> None:
        """See that a node gets in, is given a job, and is paid for it."""
        async with self.gateway.as_node(self.good) as node, self.gateway.http(self.account) as http:
            await node.ready()
            await submit(http)
            assert (await node.finish(await node.accept(), Outcome.COMPLETED)).credited_ucr


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, int]]:
    """A gateway in a process of its own, for all of these: where its data is, its address, its id."""
    data = tmp_path_factory.mktemp("floods")
    limits = ("--limit", f"links-each={100 * CROWD}", "--limit", f"registrations-together={TOGETHER}")
    options = ("--log-level", "ERROR", "--trusted-proxy", PROXY, *limits)
    command = [sys.executable, "-m", "edgeagent", "gateway", "run", "--data", str(data), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield data, running.stdout.readline().strip(), running.pid
        running.terminate()


@pytest.fixture
async def here(process: tuple[Path, str, int]) -> AsyncIterator[Besieged]:
    """The gateway, with a good node."""
    data, url, pid = process
    with trio.fail_after(LIMIT_S):
        gateway = PortGateway(data, url)
        besieged = Besieged(gateway, pid, await gateway.enlist(uuid.uuid4().hex), await gateway.account())
        await besieged.serves()  # once before memory is looked at, so that everything is loaded
        yield besieged


def shake(operator: Operator) -> bytes:
    """Return what asks for a link."""
    return (
        f"GET /api/v1/relay/ws/{operator.node_id} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: edge-relay.v1\r\nAuthorization: Bearer {operator.token}\r\n\r\n"
    ).encode()


async def silent(here: Besieged, stream: trio.SocketStream) -> None:
    """Connect, and say nothing."""


async def dripping(here: Besieged, stream: trio.SocketStream) -> None:
    """Begin a request and never end it."""
    await stream.send_all(b"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: ")


async def without_hello(here: Besieged, stream: trio.SocketStream) -> None:
    """Open a link, and say no hello."""
    await stream.send_all(shake(here.good))


async def not_reading(here: Besieged, stream: trio.SocketStream) -> None:
    """Ask for the largest page again and again, and read nothing."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await stream.send_all(b"GET /schema/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20)


CROWDS: dict[str, tuple[Callable[[Besieged, trio.SocketStream], Awaitable[None]], int]] = {
    "silent": (silent, 40_000),
    "dripping": (dripping, 60_000),
    "without hello": (without_hello, 120_000),
    "not reading": (not_reading, 400_000),
}


@pytest.mark.parametrize("kind", CROWDS)
async def test_a_thousand_connections_that_hang_cost_themselves(here: Besieged, kind: str) -> None:
    """Bounded memory for each, and meanwhile a node and a submitter are served as ever."""
    hang, each_bytes = CROWDS[kind]
    crowd = 100 if kind == "not reading" else CROWD  # whose answers the gateway has to make first
    before = here.resident_bytes()
    streams = [await here.connect(CROWDED) for _ in range(crowd)]
    for stream in streams:
        await hang(here, stream)
    await here.serves()
    grown = here.resident_bytes() - before
    assert grown < crowd * each_bytes, f"{grown / crowd:,.0f} bytes each"
    for stream in streams:
        await trio.aclose_forcefully(stream)


async def answer(stream: trio.SocketStream) -> tuple[int, dict[bytes, bytes]]:
    """Read a whole answer; return its status and headers."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += await stream.receive_some()
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = {name.lower(): value for name, value in (line.split(b": ", 1) for line in lines)}
    while len(body) < int(headers[b"content-length"]):
        body += await stream.receive_some()
    return int(first.split()[1]), headers


async def test_ten_thousand_registrations_a_minute_are_answered(here: Besieged) -> None:
    """From as many addresses: 201 while there is room, then 429 with when to come back; the network works on.

    What comes in three seconds of that is sent as fast as the gateway answers.
    """
    before, began = here.resident_bytes(), trio.current_time()
    answers: Counter[int] = Counter()

    async def flood(lane: int) -> None:
        stream = await here.connect(PROXY)
        for number in range(lane, 500, 4):
            body = orjson.dumps(registration(f"node {number}"))
            head = (
                f"POST /api/v1/nodes/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                f"X-Forwarded-For: 10.{number >> 8}.{number & 255}.1\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            await stream.send_all(head.encode() + body)
            status, headers = await answer(stream)
            answers[status] += 1
            assert status == 201 or 1 <= int(headers[b"retry-after"]) <= 60
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        for lane in range(4):
            nursery.start_soon(flood, lane)
        await here.serves()
    elapsed_s = trio.current_time() - began
    assert set(answers) == {201, 429}
    at_once = TOGETHER / 3
    assert at_once - 10 <= answers[201] <= at_once + TOGETHER / 60 * elapsed_s + 1  # less what the fixture used
    assert here.resident_bytes() - before < 32 << 20
    await here.serves()

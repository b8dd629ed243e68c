"""One file from a TLS server onto the disk: what is gone on with, what is checked, and whose fault what is."""

from __future__ import annotations

import functools
import gc
import hashlib
import json
import os
import random
import ssl
import warnings
from pathlib import Path

import attrs
import pytest
import trio
from file_server import File, Server

from edgeagent.node.fetch.download import Wanted, download
from edgeagent.node.fetch.https import Https
from edgeagent.node.fetch.partial import Partial
from edgeagent.node.fetch.source import UnreachedError, UnusableError
from edgeagent.node.throttle import Throttle

DATA = os.urandom(3_000_000)


@pytest.fixture
async def server(nursery: trio.Nursery) -> Server:
    """A file server on loopback."""
    server = Server()
    await nursery.start(server.run)
    return server


class Bench:
    """A server, and what has come of its file."""

    def __init__(self, server: Server, path: Path) -> None:
        self.server, self.path = server, path
        self.heard: list[int] = []
        self.throttle = Throttle()

    async def fetch(self, ref: str, *, tls: ssl.SSLContext | None = None, private: bool = True) -> Partial:
        partial = Partial(self.path)
        digest = hashlib.sha256(DATA).hexdigest()
        wanted = Wanted(sha256=digest, size_bytes=len(DATA), most_bytes=len(DATA))
        async with Https(allow_private=private, tls=tls or self.server.trust()) as https:
            await download(https.at(ref), partial, wanted, rng=Still(), heard=self.heard.append, throttle=self.throttle)
        return partial


class Still(random.Random):
    """Waits no time between two tries."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Bench:
    """See there."""
    return Bench(server, tmp_path / "partial")


def ranges(server: Server) -> list[str | None]:
    return [headers.get("range") for _, headers in server.asked]


class Counting(Throttle):
    """Says what was taken, and waits for nothing."""

    taken = 0

    async def take(self, size_bytes: int) -> None:
        self.taken += size_bytes


async def test_every_byte_that_comes_is_paid_for(bench, server):
    """So that a limit on what inputs take of the line holds for all of it."""
    bench.throttle = counting = Counting()
    server.files["/f"] = File(DATA)

    await bench.fetch(server.url("/f"))

    assert len(DATA) == counting.taken


async def test_a_file_arrives(bench, server):
    """Whole, checked, and told while it comes; nothing of this machine's goes along."""
    server.files["/a%20file?x=1"] = File(DATA)

    partial = await bench.fetch(server.url("/a file?x=1"))

    assert DATA == partial.read()
    assert [0, len(DATA)] == [bench.heard[0], bench.heard[-1]]
    ((_, headers),) = server.asked
    assert {"host", "user-agent", "accept", "accept-encoding"} == set(headers)


async def test_a_cut_connection_is_gone_on_with(bench, server):
    """Where it was cut, twice."""
    server.files["/f"] = File(DATA, cut_after=[1_000_000, 500_000])

    partial = await bench.fetch(server.url("/f"))

    assert DATA == partial.read()
    assert [None, "bytes=1000000-", "bytes=1500000-"] == ranges(server)


async def test_another_process_goes_on_where_one_was_cut_off(bench, server):
    """What has arrived is on disk, and what to show for the rest beside it."""
    server.files["/f"] = File(DATA, pause_at=2_000_000)
    with trio.move_on_after(30) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.fetch, server.url("/f"))
            await server.files["/f"].paused.wait()
            while bench.path.stat().st_size < 1 << 20:  # noqa: ASYNC110 (a thread writes it)
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught
    had = bench.path.stat().st_size
    server.files["/f"] = File(DATA)

    partial = await bench.fetch(server.url("/f"))

    assert DATA == partial.read()
    assert f"bytes={had}-" == ranges(server)[-1]


async def test_what_has_changed_meanwhile_is_fetched_anew(bench, server):
    """A server that has another file now sends it whole; one that mixes two is caught by the digest."""
    bench.path.write_bytes(b"x" * 1_000_000)
    bench.path.with_name("partial.json").write_text(json.dumps({"validator": '"an older one"'}))
    server.files["/f"] = File(DATA)

    assert DATA == (await bench.fetch(server.url("/f"))).read()
    assert 1 == len(server.asked)

    bench.path.write_bytes(b"x" * 1_000_000)
    bench.path.with_name("partial.json").write_text(json.dumps({"validator": server.files["/f"].etag}))
    assert DATA == (await bench.fetch(server.url("/f"))).read()
    assert ["bytes=1000000-", None] == ranges(server)[1:]


@pytest.mark.parametrize("without", ["validator", "ranges", "length"])
async def test_a_server_that_cannot_go_on_is_asked_for_everything(bench, server, without):
    """The file arrives all the same."""
    server.files["/f"] = attrs.evolve(File(DATA, cut_after=[1_000_000]), **{without: False})

    assert DATA == (await bench.fetch(server.url("/f"))).read()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (File(b"", status=404), "answers 404"),
        (File(b"", status=403), "answers 403"),
        (File(DATA[:-1]), "2999999 bytes are there, where 3000000 were announced"),
        (File(DATA[:-1] + b"x"), "has the SHA-256"),
        (File(DATA + b"x", length=False), "more than the 3000000 bytes"),
        (File(DATA[:-1], length=False), "2999999 bytes arrived, where 3000000"),
        (File(b"", status=302, location="http://localhost/f"), "is not an https:// address"),
        (File(b"", status=302, location="file:///etc/passwd"), "is not an https:// address"),
        (File(b"", status=302, location="/round"), "redirects more than 5 times"),
        (File(b"", status=302, location="https://a:b@localhost/f"), "no user name or password"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_nobody_could_use_is_the_jobs_fault(bench, server, file, said):
    """Said at once, in one line, and not tried again."""
    server.files["/f"] = file
    server.files["/round"] = File(b"", status=307, location="/f")

    with pytest.raises(UnusableError, match=said):
        await bench.fetch(server.url("/f"))


async def test_a_redirect_is_followed(bench, server):
    """To the same place the next time, so a cut connection is gone on with there."""
    server.files["/f"] = File(b"", status=302, location="/real")
    server.files["/real"] = File(DATA, cut_after=[1_000_000])

    assert DATA == (await bench.fetch(server.url("/f"))).read()
    assert "bytes=1000000-" == ranges(server)[-1]


async def test_a_server_in_trouble_is_asked_again(bench, server):
    """A 503 is nobody's fault."""
    server.files["/f"] = File(b"", status=503)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.fetch, server.url("/f"))
        while len(server.asked) < 3:  # noqa: ASYNC110 (what the server was asked is not told)
            await trio.sleep(0.01)
        server.files["/f"] = File(DATA)

    assert DATA == bench.path.read_bytes()


async def test_a_stranger_with_a_certificate_of_another_name_is_not_believed(bench, server, monkeypatch):
    """Nor one that an unknown authority vouches for; another node may see the real one."""
    monkeypatch.setattr("edgeagent.node.fetch.download.GIVE_UP_S", 0.0)
    server.files["/f"] = File(DATA)

    with pytest.raises(UnreachedError, match="certificate verify failed"):
        await bench.fetch(server.url("/f"), tls=ssl.create_default_context())
    with pytest.raises(UnreachedError, match="certificate verify failed: Hostname mismatch"):
        await bench.fetch(server.url("/f", host="127.1"))

    assert [] == server.asked


@pytest.mark.parametrize(
    ("host", "fault"),
    [("127.0.0.1", UnusableError), ("localhost", UnreachedError), ("127.1", UnreachedError), ("[::1]", UnusableError)],
)
async def test_the_operators_own_network_is_closed(bench, server, host, fault):
    """Whatever way it is spelled; no connection is made at all."""
    server.files["/f"] = File(DATA)

    with pytest.raises(fault, match="which is not on the public internet"):
        await bench.fetch(server.url("/f", host=host), private=False)

    assert (0, []) == (server.open, server.asked)


async def test_a_redirect_into_the_operators_network_is_not_followed(bench, server, monkeypatch):
    """Each hop is looked up and checked for itself."""
    real = "edgeagent.node.fetch.guarded.is_public"
    monkeypatch.setattr(real, lambda address, seen=[]: not seen and not seen.append(address))
    server.files["/f"] = File(b"", status=302, location="https://127.0.0.1:1/latest/meta-data")

    with pytest.raises(UnusableError, match=r"127\.0\.0\.1 leads to 127\.0\.0\.1, which is not on the public"):
        await bench.fetch(server.url("/f"), private=False)

    assert 1 == len(server.asked)


async def test_a_name_is_looked_up_once_for_check_and_connection(bench, server, monkeypatch):
    """Who owns a name cannot show the check one address and the connection another."""
    lookups = []
    real = trio.socket.getaddrinfo

    async def count(host, port, *rest, **more):
        lookups.append(host)
        return await real("127.0.0.1", port, *rest, **more)

    monkeypatch.setattr("edgeagent.node.fetch.guarded.trio.socket.getaddrinfo", count)
    server.files["/f"] = File(DATA)

    await bench.fetch(server.url("/f"))

    assert 1 == lookups.count("localhost")


async def test_a_fetch_that_ends_while_tls_is_set_up_closes_its_connection(bench, nursery):
    """It is not left to the interpreter, which may come to it late."""
    asked = trio.Event()

    async def be_silent(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        asked.set()
        await trio.sleep_forever()

    (listener,) = await nursery.start(functools.partial(trio.serve_tcp, be_silent, 0, host="127.0.0.1"))
    url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/f"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        async with trio.open_nursery() as fetching:
            fetching.start_soon(bench.fetch, url)
            await asked.wait()
            fetching.cancel_scope.cancel()
        gc.collect()

    assert [] == [str(each.message) for each in said]

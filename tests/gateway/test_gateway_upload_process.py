"""Files through gateways that are processes of their own: killed in the middle, and held to a constant memory."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import trio
from gateway_process import process
from scripted import PATIENCE_S, tus

from edgeagent.client import Client
from edgeagent.wire.urls import GatewayUrl

MIB = 1 << 20
KILLED_BYTES = 8 * MIB
LARGE_BYTES = 256 * MIB
#: What a gateway may take for files of any size: pieces on their way, in buffers of its own and of its libraries.
MOST_GROWTH = 64 * MIB
PIECE = bytes(range(256)) * 4096


def large(path: Path, size: int) -> str:
    """Make a file of so many bytes; return its digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(PIECE)
            digest.update(PIECE)
    return digest.hexdigest()


async def test_an_upload_outlives_a_killed_gateway(tmp_path: Path) -> None:
    """kill -9 in the middle of a piece: at most the last seconds of it come again, and nothing is there twice."""
    scene, data = tmp_path / "scene", tmp_path / "data"
    digest = large(scene, KILLED_BYTES)
    with trio.fail_after(6 * PATIENCE_S):
        async with process(data) as (gateway, running):
            token = await gateway.account()
            begin = tus(KILLED_BYTES, sha256=digest, filename="scene")
            async with gateway.http(token) as http:
                where = (await http.post("/uploads", headers=begin)).headers["location"].removeprefix("/api/v1")
                headers = {
                    "Tus-Resumable": "1.0.0",
                    "Content-Type": "application/offset+octet-stream",
                    "Upload-Offset": "0",
                    "Content-Length": str(KILLED_BYTES),
                }
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_send, http, where, headers)
                    while (await http.get("/uploads")).json()["uploads"][0]["offset_bytes"] == 0:  # noqa: ASYNC110 (another process does it)
                        await trio.sleep(0.05)
                    running.kill()
        assert not list((data / "blobs" / "sha256").glob("*/*"))

        async with process(data) as (gateway, running), Client(GatewayUrl.parse(gateway.url), token) as client:
            (left,) = (await client.call("GET", "/uploads"))["uploads"]
            assert left["offset_bytes"] >= MIB
            told: list[int] = []
            await client.upload(scene, lambda there, _: told.append(there))
            assert told[0] == left["offset_bytes"]  # what was said to be there is not sent again
            await client.fetch(digest, tmp_path / "copy")
            assert [one["sha256"] async for one in client.files()] == [digest]
            assert (await client.account())["stored_bytes"] == KILLED_BYTES
    assert hashlib.sha256((tmp_path / "copy").read_bytes()).hexdigest() == digest
    assert [path.name for path in (data / "blobs" / "sha256").glob("*/*")] == [digest]
    assert not list((data / "blobs" / "parts").iterdir())


async def _send(http: httpx2.AsyncClient, where: str, headers: dict[str, str]) -> None:
    """Send all but the last bytes, and wait: whoever kills the gateway has it in the middle."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(KILLED_BYTES // MIB - 1):
            yield PIECE
        while True:  # a byte now and then, so that the broken connection is felt
            await trio.sleep(0.1)
            yield b"\0"

    with contextlib.suppress(httpx2.TransportError):
        await http.patch(where, headers=headers, content=body())


async def test_a_large_file_takes_no_more_memory(tmp_path: Path) -> None:
    """Neither on its way up nor on its way down."""
    scene, small = tmp_path / "scene", tmp_path / "small"
    digest, small_digest = large(scene, LARGE_BYTES), large(small, MIB)
    with trio.fail_after(6 * PATIENCE_S):
        async with (
            process(tmp_path / "data") as (gateway, running),
            Client(GatewayUrl.parse(gateway.url), await gateway.account()) as client,
        ):
            await client.upload(small)
            await client.fetch(small_digest, tmp_path / "back")
            before = peak_bytes(running.pid)
            await client.upload(scene)
            after_upload = peak_bytes(running.pid)
            await client.fetch(digest, tmp_path / "copy")
            after_download = peak_bytes(running.pid)

    assert after_upload - before < MOST_GROWTH
    assert after_download - before < MOST_GROWTH
    assert filecmp.cmp(scene, tmp_path / "copy", shallow=False)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had resident so far."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

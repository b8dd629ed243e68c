"""Uploads by a client of tus 1.0 that is not ours: tuspy, which the protocol's authors keep, on ``requests``."""

from __future__ import annotations

import hashlib
import io
from functools import partial

import pytest
import trio
from faulty_line import BYTE, Line
from scripted import PortGateway
from tusclient.client import TusClient
from tusclient.exceptions import TusUploadFailed
from tusclient.uploader import Uploader

SIZE = 3_000_000
DATA = BYTE * SIZE
DIGEST = hashlib.sha256(DATA).hexdigest()
PIECE = 1_000_000


@pytest.fixture
async def line(port_gateway: PortGateway, nursery: trio.Nursery) -> Line:
    """A line to the gateway."""
    return Line(port_gateway)


@pytest.fixture
async def peer(port_gateway: PortGateway, line: Line, nursery: trio.Nursery) -> TusClient:
    """A client with the token of an account, at the end of the line."""
    token = await port_gateway.account()
    return TusClient(f"{await line.run(nursery)}/api/v1/uploads", headers={"Authorization": f"Bearer {token}"})


async def begun(peer: TusClient, *, url: str | None = None, retries: int = 0) -> Uploader:
    """Return an upload of the file, at ``url`` if it was begun before, in pieces with their checksums."""
    told = {"sha256": DIGEST, "filename": "scene.blend"}
    how = {"chunk_size": PIECE, "retries": retries, "retry_delay": 0, "upload_checksum": True}
    # A stream, because tuspy leaves files open that it opens itself.
    begin = partial(peer.uploader, file_stream=io.BytesIO(DATA), url=url, metadata=told, **how)
    uploader: Uploader = await trio.to_thread.run_sync(begin)
    return uploader


async def sent(uploader: Uploader, stop_at: int | None = None) -> None:
    """Send up to there."""
    await trio.to_thread.run_sync(uploader.upload, stop_at)


async def is_there(gateway: PortGateway, peer: TusClient) -> bool:
    """Whether the gateway has the file under its digest, and nothing that is still to come."""
    async with gateway.http(peer.headers["Authorization"].removeprefix("Bearer ")) as http:
        listed = (await http.get("/files")).json()["files"]
        whole = (await http.get(f"/files/{DIGEST}")).content == DATA
        waiting = (await http.get("/uploads")).json()["uploads"]
    return [(one["name"], one["sha256"]) for one in listed] == [("scene.blend", DIGEST)] and whole and not waiting


async def test_pieces_with_checksums_become_the_file(port_gateway: PortGateway, peer: TusClient) -> None:
    """SHA-1, which is what this client and the protocol's own text take."""
    await sent(await begun(peer))
    assert await is_there(port_gateway, peer)


async def test_a_piece_that_is_cut_off_is_gone_on_with(port_gateway: PortGateway, peer: TusClient, line: Line) -> None:
    """The client asks how far it is, within the same call, and sends the rest of the piece."""
    line.cuts = [SIZE // 2]
    await sent(await begun(peer, retries=50))
    assert not line.cuts
    assert await is_there(port_gateway, peer)


async def test_a_later_client_goes_on_with_what_one_has_begun(
    port_gateway: PortGateway, peer: TusClient, line: Line
) -> None:
    """It knows the address, asks how far that is, and sends only what is lacking."""
    first = await begun(peer)
    await sent(first, stop_at=2 * PIECE)
    assert not await is_there(port_gateway, peer)
    line.carried = 0
    later = await begun(peer, url=first.url)
    assert later.offset == 2 * PIECE
    await sent(later)
    assert line.carried < 2 * PIECE
    assert await is_there(port_gateway, peer)


async def test_a_spoiled_piece_is_refused_and_sent_again(
    port_gateway: PortGateway, peer: TusClient, line: Line
) -> None:
    """With tus' own status, 460; nothing of it counts."""
    uploader = await begun(peer)
    line.spoil = 2  # the beginning, and the first piece
    with pytest.raises(TusUploadFailed) as refused:
        await sent(uploader)
    assert refused.value.status_code == 460
    assert await trio.to_thread.run_sync(uploader.get_offset) == 0
    await sent(uploader)
    assert await is_there(port_gateway, peer)

"""Uploads without network: how long they last, and how many and how large they may be."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio.testing
from scripted import DIGEST, FILE, MemoryGateway, announced, in_memory, pieces

from edgeagent.gateway.parts import Part
from edgeagent.gateway.store import files, uploads
from edgeagent.gateway.store.uploads import LIFE_S, MAX_OF_ACCOUNT, MAX_OF_ATTEMPT, NoRoomError, Owner, Upload
from edgeagent.gateway.uploads import ExpiredError, NoUploadError, OffsetError, TakenOverError

DAY_S = 86400.0
HALF = len(FILE) // 2


@pytest.fixture
async def owner(memory_gateway: MemoryGateway) -> Owner:
    """An account."""
    return Owner(await memory_gateway.account())


@pytest.fixture
async def half(memory_gateway: MemoryGateway, owner: Owner) -> str:
    """An upload of FILE of which a half is there."""
    await memory_gateway.hub.uploads.begin(announced("half", owner))
    await memory_gateway.hub.uploads.append("half", owner, 0, pieces(FILE[:HALF]), None)
    return "half"


async def test_an_upload_that_is_left_alone_expires(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner, half: str
) -> None:
    """A day after the last byte: its bytes go, it counts no more, and for another day the answer says so."""
    hub = memory_gateway.hub
    memory_gateway.wall.ahead_s += LIFE_S - 10
    await hub.uploads.append(half, owner, HALF, pieces(b""), None)  # still there, and kept for longer now
    await hub.collector.sweep()
    assert (await hub.uploads.show(half, owner)).offset == HALF
    assert (await hub.store.read(files.usage, owner.account_id)).uploading_bytes == len(FILE)

    memory_gateway.wall.ahead_s += LIFE_S + 10

    assert (await hub.store.read(files.usage, owner.account_id)).uploading_bytes == 0
    assert await hub.store.read(uploads.of_account, owner.account_id) == []
    for call in (hub.uploads.show, hub.uploads.end):
        with pytest.raises(ExpiredError):
            await call(half, owner)
    with pytest.raises(ExpiredError):
        await hub.uploads.append(half, owner, HALF, pieces(FILE[HALF:]), None)
    await hub.collector.sweep()
    assert hub.uploads.parts.there() == []
    with pytest.raises(ExpiredError):
        await hub.uploads.show(half, owner)

    memory_gateway.wall.ahead_s += DAY_S
    await hub.collector.sweep()
    with pytest.raises(NoUploadError):
        await hub.uploads.show(half, owner)


async def test_an_upload_that_is_still_coming_does_not_expire(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner, half: str
) -> None:
    """However long its last piece takes: nobody removes what a request is writing to."""

    async def slowly() -> AsyncIterator[bytes]:
        yield FILE[HALF:-1]
        memory_gateway.wall.ahead_s += LIFE_S + 10
        await memory_gateway.hub.collector.sweep()
        yield FILE[-1:]

    assert (await memory_gateway.hub.uploads.append(half, owner, HALF, slowly(), None)).finished
    assert await memory_gateway.files() == {DIGEST}


async def test_an_upload_goes_on_from_what_the_disk_still_has(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner, half: str
) -> None:
    """Where that is less than the database says, as after a restored copy, who asks is told so, and gets on."""
    hub = memory_gateway.hub
    hub.uploads.parts.path(half).write_bytes(FILE[:10])
    with pytest.raises(OffsetError, match="stands at 10"):
        await hub.uploads.append(half, owner, HALF, pieces(FILE[HALF:]), None)
    assert (await hub.uploads.show(half, owner)).offset == 10
    assert (await hub.uploads.append(half, owner, 10, pieces(FILE[10:]), None)).finished


async def test_a_finished_upload_is_remembered_for_an_hour(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner, half: str
) -> None:
    """For a client that did not hear so; the file stays."""
    hub = memory_gateway.hub
    await hub.uploads.append(half, owner, HALF, pieces(FILE[HALF:]), None)
    memory_gateway.wall.ahead_s += 3500
    await hub.collector.sweep()
    assert (await hub.uploads.show(half, owner)).finished
    memory_gateway.wall.ahead_s += 200
    await hub.collector.sweep()
    with pytest.raises(NoUploadError):
        await hub.uploads.show(half, owner)
    assert await memory_gateway.files() == {DIGEST}


async def test_a_finished_upload_takes_nothing_more(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner, half: str
) -> None:
    """It stands at its end, whatever is sent from elsewhere: it counts no more, so its bytes would count nowhere."""
    hub = memory_gateway.hub
    await hub.uploads.append(half, owner, HALF, pieces(FILE[HALF:]), None)
    for offset in (0, HALF):
        with pytest.raises(OffsetError, match=f"stands at {len(FILE)}"):
            await hub.uploads.append(half, owner, offset, pieces(FILE[offset:-1]), None)
    assert hub.uploads.parts.there() == []
    assert (await hub.uploads.append(half, owner, len(FILE), pieces(b""), None)).finished


async def test_a_strangers_request_ends_no_upload(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner, half: str
) -> None:
    """Who knows an upload's id, and is not its owner, does not take it over in the middle."""
    hub = memory_gateway.hub
    stranger = Owner(await memory_gateway.account("stranger"))

    async def body() -> AsyncIterator[bytes]:
        yield FILE[HALF:-1]
        for call in (hub.uploads.show, hub.uploads.end):
            with pytest.raises(NoUploadError):
                await call(half, stranger)
        with pytest.raises(NoUploadError):
            await hub.uploads.append(half, stranger, HALF, pieces(FILE[HALF:]), None)
        yield FILE[-1:]

    assert (await hub.uploads.append(half, owner, HALF, body(), None)).finished


async def test_what_came_before_a_body_broke_off_is_counted(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner, half: str
) -> None:
    """Once: the rest is counted when it comes."""
    hub = memory_gateway.hub

    async def broken() -> AsyncIterator[bytes]:
        yield FILE[HALF:-1]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await hub.uploads.append(half, owner, HALF, broken(), None)
    assert hub.uploads.received_bytes == len(FILE) - 1
    await hub.uploads.append(half, owner, len(FILE) - 1, pieces(FILE[-1:]), None)
    assert hub.uploads.received_bytes == len(FILE)


async def test_the_disk_has_what_a_client_is_told(
    autojump_clock: trio.testing.MockClock,
    memory_gateway: MemoryGateway,
    owner: Owner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each piece is on disk before the database says how far the upload is, and the file before it is one."""
    hub = memory_gateway.hub
    done: list[tuple[str, int]] = []
    sync, write = Part.sync, hub.store.write

    def synced(part: Part) -> None:
        sync(part)
        done.append(("on disk", part.size))

    async def written(call: Any, *args: Any) -> Any:
        found = await write(call, *args)
        if call in (uploads.moved, uploads.finish):
            done.append(("said", found.offset if call is uploads.finish else args[1]))
        return found

    monkeypatch.setattr(Part, "sync", synced)
    monkeypatch.setattr(hub.store, "write", written)
    await hub.uploads.begin(announced("scene", owner))
    await hub.uploads.append("scene", owner, 0, pieces(FILE[:HALF]), None)
    await hub.uploads.append("scene", owner, HALF, pieces(FILE[HALF:]), None)
    assert done == [("on disk", HALF), ("said", HALF), ("on disk", len(FILE)), ("said", len(FILE))]


async def test_an_account_has_so_many_files(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small; what it has already takes no more, and one that it lets go of makes room."""
    monkeypatch.setattr(uploads, "MAX_FILES", 2)
    hub = memory_gateway.hub
    digest = await memory_gateway.give(owner, b"one")
    await memory_gateway.give(owner, b"two")
    with pytest.raises(NoRoomError, match="at most 2 files"):
        await hub.uploads.begin(announced("three", owner, b"three"))
    assert (await hub.uploads.begin(announced("again", owner, b"one"))).finished
    await hub.store.write(files.release, owner.account_id, digest)
    await hub.uploads.begin(announced("three", owner, b"three"))


async def test_a_quota_counts_files_and_uploads(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """To the byte, of each account by itself; what is given up or let go of is free again."""
    async with in_memory(tmp_path, quota_bytes=100) as gateway:
        hub, owner = gateway.hub, Owner(await gateway.account())
        await gateway.give(owner, bytes(60))
        await hub.uploads.begin(announced("coming", owner, bytes(30)))
        with pytest.raises(NoRoomError, match="10 of the 100 bytes"):
            await hub.uploads.begin(announced("much", owner, bytes(11)))
        await hub.uploads.begin(announced("fits", owner, bytes(10)))
        with pytest.raises(NoRoomError, match="0 of the 100 bytes"):
            await hub.uploads.begin(announced("byte", owner, b"x"))
        assert (await hub.uploads.begin(announced("again", owner, bytes(60)))).finished  # what is there takes nothing
        await gateway.give(Owner(await gateway.account("others")), bytes(100))

        await hub.uploads.end("coming", owner)
        await hub.store.write(files.release, owner.account_id, hashlib.sha256(bytes(60)).hexdigest())
        await hub.uploads.begin(announced("room", owner, bytes(90)))


async def test_an_account_has_so_many_uploads_at_once(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner
) -> None:
    """The next is refused until one has ended; another account's do not count."""
    hub = memory_gateway.hub
    for number in range(MAX_OF_ACCOUNT):
        await hub.uploads.begin(announced(f"upload-{number}", owner))
    with pytest.raises(uploads.TooManyUploadsError, match=f"at most {MAX_OF_ACCOUNT}"):
        await hub.uploads.begin(announced("one more", owner))
    await hub.uploads.begin(announced("other", Owner(await memory_gateway.account("others"))))
    await hub.uploads.end("upload-0", owner)
    await hub.uploads.begin(announced("one more", owner))


async def test_an_attempt_has_so_many_uploads_and_bytes(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner
) -> None:
    """All its outputs together, those on their way too; the same name again takes the place of the old."""
    hub, operator = memory_gateway.hub, await memory_gateway.enlist()
    assert owner.account_id is not None
    async with memory_gateway.at_work(operator) as node:
        await memory_gateway.submit(owner.account_id)
        attempt = Owner(attempt_id=(await node.accept()).attempt_id, node_id=operator.node_id)
        await memory_gateway.give(attempt, FILE, "there")
        for number in range(MAX_OF_ATTEMPT):
            await hub.uploads.begin(announced(f"upload-{number}", attempt, bytes(10), f"{number}"))
        with pytest.raises(uploads.TooManyUploadsError, match=f"at most {MAX_OF_ATTEMPT}"):
            await hub.uploads.begin(announced("one more", attempt, b"x", "more"))
        await hub.uploads.end("upload-0", attempt)
        left = uploads.OUTPUTS_BYTES - len(FILE) - 10 * (MAX_OF_ATTEMPT - 1)
        large = Upload(upload_id="large", owner=attempt, name="large", sha256="0" * 64, length=left + 1)
        with pytest.raises(NoRoomError, match=f"{left} are left"):
            await hub.uploads.begin(large)
        again = Upload(upload_id="there2", owner=attempt, name="there", sha256="0" * 64, length=left + len(FILE))
        await hub.uploads.begin(again)


async def test_an_output_begun_again_frees_what_came_of_it(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner
) -> None:
    """At once, also while it is still coming: a node could fill the disk otherwise, by beginning again and again."""
    hub, operator = memory_gateway.hub, await memory_gateway.enlist()
    assert owner.account_id is not None
    async with memory_gateway.at_work(operator) as node:
        await memory_gateway.submit(owner.account_id)
        attempt = Owner(attempt_id=(await node.accept()).attempt_id, node_id=operator.node_id)
        await hub.uploads.begin(announced("first", attempt, name="a"))
        await hub.uploads.append("first", attempt, 0, pieces(FILE[:HALF]), None)

        await hub.uploads.begin(announced("second", attempt, name="a"))
        assert hub.uploads.parts.there() == []
        async with trio.open_nursery() as nursery:

            async def body() -> AsyncIterator[bytes]:
                yield FILE[:HALF]
                nursery.start_soon(hub.uploads.begin, announced("third", attempt, name="a"))
                await trio.sleep_forever()

            with pytest.raises(TakenOverError):
                await hub.uploads.append("second", attempt, 0, body(), None)
        assert hub.uploads.parts.there() == []
        assert (await hub.uploads.append("third", attempt, 0, pieces(FILE), None)).finished


async def test_uploads_of_an_ended_attempt_are_over(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, owner: Owner
) -> None:
    """Even in the middle; and another node never has them."""
    hub, operator = memory_gateway.hub, await memory_gateway.enlist()
    assert owner.account_id is not None
    async with memory_gateway.at_work(operator) as node:
        job_id = await memory_gateway.submit(owner.account_id)
        attempt = Owner(attempt_id=(await node.accept()).attempt_id, node_id=operator.node_id)
        await hub.uploads.begin(announced("mine", attempt, name="a"))
        thief = Owner(attempt_id=attempt.attempt_id, node_id="another")
        for other in (thief, owner, Owner(attempt_id="another", node_id=operator.node_id)):
            with pytest.raises(NoUploadError):
                await hub.uploads.show("mine", other)

        async def body() -> AsyncIterator[bytes]:
            yield FILE[:HALF]
            await hub.cancel(job_id)
            yield FILE[HALF:]

        with pytest.raises(LookupError):
            await hub.uploads.append("mine", attempt, 0, body(), None)
        with pytest.raises(NoUploadError):
            await hub.uploads.show("mine", attempt)

"""What the collector removes and what it leaves, and that nobody loses a file to it."""

from __future__ import annotations

import hashlib
import sqlite3
from functools import partial
from pathlib import Path

import attrs
import httpx2
import pytest
import trio
import trio.testing
from scripted import DIGEST, FILE, MemoryGateway, PortGateway, announced, pieces, refused, submit, tus, upload
from scripted_node import Node, Operator

from edgeagent.gateway.backup import back_up
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import transaction
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.store import files
from edgeagent.gateway.store.submissions import FileGoneError
from edgeagent.gateway.store.uploads import Owner
from edgeagent.wire.messages import Outcome, Output

DAY_S = 86400.0
#: Checkpoints by which two tasks are set apart: more than either has.
SHIFTS = 40


@attrs.frozen
class Account:
    """One account of a gateway."""

    gateway: MemoryGateway
    account_id: str

    @property
    def owner(self) -> Owner:
        """It, as the owner of uploads."""
        return Owner(self.account_id)

    async def give(self, data: bytes) -> str:
        """Upload a file; return its digest."""
        return await self.gateway.give(self.owner, data)

    async def release(self, digest: str) -> None:
        """Let go of a file, as the REST API does."""
        await self.gateway.hub.store.write(files.release, self.account_id, digest)
        await self.gateway.hub.collector.remove([digest])

    async def submit(self, digest: str) -> str:
        """Submit a job whose payload is a file of the account."""
        return await self.gateway.submit(self.account_id, payload_ref=f"sha256:{digest}")


@pytest.fixture
async def studio(memory_gateway: MemoryGateway) -> Account:
    """An account."""
    return Account(memory_gateway, await memory_gateway.account("studio"))


@pytest.fixture
async def other(memory_gateway: MemoryGateway) -> Account:
    """Another account."""
    return Account(memory_gateway, await memory_gateway.account("other"))


@pytest.fixture
async def operator(memory_gateway: MemoryGateway) -> Operator:
    """A node."""
    return await memory_gateway.enlist()


async def leave(account: Account, node: Node, operator: Operator, data: bytes, outcome: Outcome) -> tuple[str, str]:
    """Have a job end on a node that leaves a file; return the job's id and the file's digest."""
    job_id = await account.gateway.submit(account.account_id, max_attempts=1)
    dispatch = await node.accept()
    owner = Owner(attempt_id=dispatch.attempt_id, node_id=operator.node_id)
    digest = await account.gateway.give(owner, data, "picture")
    outputs = (Output(name="picture", size_bytes=len(data), sha256=digest),)
    await node.finish(dispatch, outcome, outputs=outputs if outcome is Outcome.COMPLETED else ())
    return job_id, digest


async def test_a_file_goes_with_the_last_account_that_has_it(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, studio: Account, other: Account
) -> None:
    """Two may have the same; what one lets go of is still the other's."""
    digest = await studio.give(b"shared")
    assert await other.give(b"shared") == digest
    await studio.release(digest)
    assert await memory_gateway.files() == {digest}
    await other.release(digest)
    assert await memory_gateway.files() == set()


async def test_a_file_stays_while_an_open_job_needs_it(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, studio: Account, operator: Operator
) -> None:
    """And counts so long; no new job may refer to it."""
    digest = await studio.give(b"needed")
    job_id = await studio.submit(digest)
    await studio.release(digest)
    await memory_gateway.hub.collector.sweep()
    assert await memory_gateway.files() == {digest}
    assert (await memory_gateway.hub.store.read(files.usage, studio.account_id)).stored_bytes == len(b"needed")
    listed = await memory_gateway.hub.store.read(partial(files.of_account, before=None, limit=10), studio.account_id)
    assert listed == []
    with pytest.raises(FileGoneError):
        await studio.submit(digest)

    await memory_gateway.hub.cancel(job_id)
    await memory_gateway.hub.collector.sweep()
    assert await memory_gateway.files() == set()


async def test_a_jobs_files_stay_for_a_month(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, studio: Account, operator: Operator
) -> None:
    """Those of a completed job; its row still says what they were.  Of a failed job they go at once."""
    async with memory_gateway.at_work(operator, slots=2) as node:
        job_id, kept = await leave(studio, node, operator, b"good", Outcome.COMPLETED)
        _, lost = await leave(studio, node, operator, b"bad", Outcome.REJECTED)
        assert await memory_gateway.files() == {kept, lost}
    await memory_gateway.hub.collector.sweep()
    assert await memory_gateway.files() == {kept}

    memory_gateway.wall.ahead_s += 30 * DAY_S - 10
    await memory_gateway.hub.collector.sweep()
    assert await memory_gateway.files() == {kept}
    memory_gateway.wall.ahead_s += 20
    await memory_gateway.hub.collector.sweep()
    assert await memory_gateway.files() == set()
    assert (await memory_gateway.job(studio.account_id, job_id)).state is JobState.COMPLETED
    with pytest.raises(FileGoneError):
        await studio.submit(kept)


async def test_what_is_kept_no_more_is_gone_for_its_submitter(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """The result still names it, without an address; who asks for it all the same hears 410."""
    operator = await port_gateway.enlist()
    async with port_gateway.as_node(operator) as node:
        await node.ready()
        where = f"/jobs/{(await submit(submitter))['job_id']}"
        dispatch = await node.accept()
        await upload(port_gateway, operator, dispatch.attempt_id, "picture")
        await node.finish(dispatch, outputs=(Output(name="picture", size_bytes=len(FILE), sha256=DIGEST),))

    def remove() -> None:
        with transaction(GatewaySettings(data_dir=port_gateway.data_dir)) as tx:
            files.remove_outputs(tx, [(dispatch.attempt_id, "picture")])

    await trio.to_thread.run_sync(remove)
    (output,) = (await submitter.get(f"{where}/result")).json()["outputs"]
    assert (output["sha256"], output["download_url"]) == (DIGEST, None)
    refused(await submitter.get(f"{where}/outputs/picture"), 410, "submit the job again")


async def test_what_a_job_left_stays_while_another_needs_it(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, studio: Account, operator: Operator
) -> None:
    """A chain of jobs hands its files on, however long a link of it waits."""
    async with memory_gateway.at_work(operator) as node:
        _, digest = await leave(studio, node, operator, b"first", Outcome.COMPLETED)
    job_id = await studio.submit(digest)
    memory_gateway.wall.ahead_s += 31 * DAY_S
    await memory_gateway.hub.collector.sweep()
    assert await memory_gateway.files() == {digest}
    await memory_gateway.hub.cancel(job_id)
    await memory_gateway.hub.collector.sweep()
    assert await memory_gateway.files() == set()


async def test_what_a_job_left_is_its_accounts_alone(
    autojump_clock: trio.testing.MockClock,
    memory_gateway: MemoryGateway,
    studio: Account,
    other: Account,
    operator: Operator,
) -> None:
    """Another account that knows the digest may not refer to it, nor is told by an upload saved that it is there."""
    hub = memory_gateway.hub
    async with memory_gateway.at_work(operator) as node:
        _, digest = await leave(studio, node, operator, b"mine", Outcome.COMPLETED)
    assert await hub.store.read(files.held, studio.account_id, [digest]) == {digest: len(b"mine")}
    assert await hub.store.read(files.held, other.account_id, [digest]) == {}
    with pytest.raises(FileGoneError):
        await other.submit(digest)
    assert not (await hub.uploads.begin(announced("guess", other.owner, b"mine"))).finished


async def test_only_what_the_attempt_left_that_won_may_be_used(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, studio: Account, operator: Operator
) -> None:
    """What an earlier attempt of the same job had uploaded before it failed is nobody's."""
    left: list[str] = []
    async with memory_gateway.at_work(operator) as node:
        await memory_gateway.submit(studio.account_id, max_attempts=2)
        for data, outcome in ((b"failed", Outcome.FAILED), (b"won", Outcome.COMPLETED)):
            dispatch = await node.accept()
            owner = Owner(attempt_id=dispatch.attempt_id, node_id=operator.node_id)
            left.append(await memory_gateway.give(owner, data, "picture"))
            await node.finish(dispatch, outcome)
    held = await memory_gateway.hub.store.read(files.held, studio.account_id, left)
    assert held == {left[1]: len(b"won")}


async def test_parts_without_an_upload_are_removed(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, studio: Account
) -> None:
    """Those of uploads in progress are left, and nothing of them is in the files."""
    hub = memory_gateway.hub
    await hub.uploads.begin(announced("coming", studio.owner, b"two halves"))
    await hub.uploads.append("coming", studio.owner, 0, pieces(b"two"), None)
    for name in ("stray", "stray.kept"):
        hub.uploads.parts.path(name).write_bytes(b"x")
    await hub.collector.sweep()
    assert hub.uploads.parts.there() == ["coming"]
    assert (hub.collector.stored_files, hub.collector.stored_bytes) == (0, 0)


async def test_a_finishing_upload_keeps_its_file(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, studio: Account, other: Account
) -> None:
    """While another account lets go of the same file, wherever in the upload that comes."""
    for shift in range(SHIFTS):
        data = f"file {shift}".encode()
        digest = await studio.give(data)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.give, data)
            await checkpoints(shift)
            await studio.release(digest)
        assert digest in await memory_gateway.files(), shift
        assert await memory_gateway.hub.store.read(files.find, other.account_id, digest)


async def test_a_repeated_upload_keeps_its_file(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, studio: Account, operator: Operator
) -> None:
    """What a job has left needs no upload while it is there; at the end of its month it is, or its bytes are asked."""
    finished = set()
    async with memory_gateway.at_work(operator) as node:
        for shift in range(SHIFTS):
            data = f"output {shift}".encode()
            _, digest = await leave(studio, node, operator, data, Outcome.COMPLETED)
            memory_gateway.wall.ahead_s += 31 * DAY_S
            async with trio.open_nursery() as nursery:
                nursery.start_soon(memory_gateway.hub.collector.sweep)
                await checkpoints(shift)
                upload = await memory_gateway.hub.uploads.begin(announced(f"again {shift}", studio.owner, data))
            finished.add(upload.finished)
            assert (digest in await memory_gateway.files()) is upload.finished, shift
    assert finished == {True, False}


async def test_nothing_goes_while_a_backup_is_made(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, studio: Account
) -> None:
    """Its database may still name it; the next sweep removes it."""
    digest = await studio.give(b"copied")
    with memory_gateway.hub.blobs.collecting():  # as a backup does, which holds the lock with others
        await studio.release(digest)
        await memory_gateway.hub.collector.sweep()
        assert await memory_gateway.files() == {digest}
    await memory_gateway.hub.collector.sweep()
    assert await memory_gateway.files() == set()


async def test_a_copy_has_every_file_that_it_names(port_gateway: PortGateway, tmp_path: Path) -> None:
    """However many come and go while it is made."""
    copies = [tmp_path / "copies" / f"{number}" for number in range(3)]
    async with port_gateway.http(await port_gateway.account()) as http, trio.open_nursery() as nursery:

        async def come_and_go(task: int) -> None:
            number = 0
            while True:
                data = f"{task} {number}".encode()
                digest = hashlib.sha256(data).hexdigest()
                headers = {**tus(len(data), sha256=digest), "Content-Type": "application/offset+octet-stream"}
                assert (await http.post("/uploads", headers=headers, content=data)).status_code == 201
                if number % 3:
                    assert (await http.delete(f"/files/{digest}")).status_code == 204
                number += 1

        for task in range(4):
            nursery.start_soon(come_and_go, task)
        for copy in copies:
            while not (port_gateway.data_dir / "blobs" / "sha256").exists():  # noqa: ASYNC110 -- nobody tells
                await trio.sleep(0.01)
            copied = await trio.to_thread.run_sync(back_up, GatewaySettings(data_dir=port_gateway.data_dir), copy)
            assert copied.missing == ()
        nursery.cancel_scope.cancel()
    with sqlite3.connect(copies[-1] / "gateway.db") as database:
        (named,) = database.execute("SELECT count(*) FROM files").fetchone()
    database.close()
    assert named > 0


async def checkpoints(number: int) -> None:
    """Let other tasks take so many steps."""
    for _ in range(number):
        await trio.lowlevel.checkpoint()

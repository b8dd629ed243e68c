"""Uploads through any history: right and wrong pieces, lies, time, collections, and kills between any two writes.

Two accounts send the same few files to the real code, on a real database and real files, on a virtual clock.  A model
beside it says how far each upload is and which files there are; after every step the two are held together.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import histories
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import announced

from edgeagent.gateway import tus
from edgeagent.gateway.arriving import ChecksumError, TooLongError
from edgeagent.gateway.blobs import LocalBlobs
from edgeagent.gateway.collector import Collector
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.store import Store, accounts, files, uploads
from edgeagent.gateway.store.uploads import LIFE_S, NoRoomError, Owner
from edgeagent.gateway.uploads import DigestError, ExpiredError, NoUploadError, OffsetError, Uploads
from postgres_server import Server

FILES = (b"", b"a", bytes(range(30)), bytes(range(60)))
QUOTA = 100
#: What can happen, the more often the oftener it is named.
WHAT = """
    begin begin begin piece piece piece piece checked corrupt spoiled lie too_much broken
    killed killed killed_beginning restart end release expire later sweep sweep killed_sweeping
"""
STEPS = st.lists(
    st.tuples(st.sampled_from(WHAT.split()), st.integers(0, 1), st.integers(0, 99)),
    min_size=15,
    max_size=50,
)


class Killed(BaseException):
    """The process is gone: nothing that it still wanted to do happens."""


class BrokenError(Exception):
    """The client is gone."""


class Body:
    """A request's body: one piece, and how it breaks off if it does; no generator, which would be left open."""

    def __init__(self, piece: bytes, fault: Exception | None = None) -> None:
        self.left: list[bytes | Exception] = [piece, *([] if fault is None else [fault])]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        match self.left.pop(0):
            case bytes(piece):
                return piece
            case fault:
                raise fault


@attrs.define(eq=False)
class Sent:
    """An upload as the model has it."""

    owner: Owner
    data: bytes
    arrived: bytes = b""
    expired: bool = False


class History:
    """One gateway after another on one database and one directory, and the accounts that use it."""

    def __init__(self, directory: Path, postgres: sa.URL | None = None) -> None:
        self.place = GatewaySettings(data_dir=directory)
        self.ahead_s, self.steps_left, self.count = 0.0, -1, 0
        self.store = Store(postgres or self.place.database, clock=self.clock, inline=True, durable=False)
        self.open: dict[str, Sent] = {}
        self.has: dict[Owner, set[bytes]] = {}

    def clock(self) -> float:
        return 1e9 + self.ahead_s

    async def begin(self) -> None:
        self.start()
        for name in "ab":
            await self.store.write(accounts.add_token, name, name, 0)
            self.has[Owner(await self.store.read(accounts.of_token, name))] = set()
        self.owners = list(self.has)
        for call in ("read", "write"):
            setattr(self.store, call, self.mortal(getattr(self.store, call)))

    def start(self) -> None:
        """Be a gateway that has just started."""
        self.steps_left = -1
        self.blobs = LocalBlobs(self.place.blobs, inline=True)
        self.blobs.blocking.run = self.mortal(self.blobs.blocking.run)  # type: ignore[method-assign]
        self.uploads = Uploads(self.store, self.blobs, self.place.parts, QUOTA)
        self.collector = Collector(self.store, self.blobs, self.uploads, 1.0)

    def mortal(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Let whatever reaches the disk not happen any more once the process is killed."""

        async def run(*args: Any) -> Any:
            if self.steps_left == 0:
                raise Killed
            self.steps_left -= 1
            return await call(*args)

        return run

    async def step(self, what: str, who: int, number: int) -> None:
        self.ahead_s += 1
        if what in ("restart", "sweep", "expire", "later", "begin", "release") or "killed_" in what:
            await getattr(self, f"do_{what}")(self.owners[who], number)
        elif self.open:
            upload_id = sorted(self.open)[number % len(self.open)]
            sent = self.open[upload_id]
            if sent.expired:
                with pytest.raises(ExpiredError):
                    await self.append(upload_id, sent, b"")
            else:
                await getattr(self, f"do_{what}")(upload_id, sent, 1 + number % 40)

    async def do_begin(self, owner: Owner, number: int) -> None:
        data = FILES[number % len(FILES)]
        self.count += 1
        taken = sum(map(len, self.has[owner])) + sum(len(one.data) for one in self.coming(owner))
        if data not in self.has[owner] and taken + len(data) > QUOTA:
            with pytest.raises(NoRoomError):
                await self.uploads.begin(announced(f"{self.count:03}", owner, data))
            return
        begun = await self.uploads.begin(announced(f"{self.count:03}", owner, data))
        assert begun.finished == (not data or data in self.has[owner])  # whatever the other account has
        if begun.finished:
            self.has[owner].add(data)
        else:
            self.open[begun.upload_id] = Sent(owner, data)

    async def do_piece(self, upload_id: str, sent: Sent, size: int) -> None:
        at = len(sent.arrived)
        await self.take(upload_id, sent, sent.data[at : at + size])

    async def do_checked(self, upload_id: str, sent: Sent, size: int) -> None:
        at = len(sent.arrived)
        await self.take(upload_id, sent, sent.data[at : at + size], check=True)

    async def do_corrupt(self, upload_id: str, sent: Sent, size: int) -> None:
        await self.take(upload_id, sent, b"\xff" * min(size, len(sent.data) - len(sent.arrived)))

    async def do_spoiled(self, upload_id: str, sent: Sent, size: int) -> None:
        piece = sent.data[len(sent.arrived) :][:size]
        if not piece:  # it was killed with all of it there, and there is nothing left to spoil
            await self.take(upload_id, sent, piece)
            return
        with pytest.raises(ChecksumError):
            await self.append(upload_id, sent, piece[:-1] + b"\xff", check=piece)

    async def do_lie(self, upload_id: str, sent: Sent, size: int) -> None:
        for offset in {0, len(sent.arrived) + size, len(sent.data)} - {len(sent.arrived)}:
            with pytest.raises(OffsetError) as refused:
                await self.uploads.append(upload_id, sent.owner, offset, Body(b""), None)
            assert refused.value.offset == len(sent.arrived)

    async def do_too_much(self, upload_id: str, sent: Sent, size: int) -> None:
        with pytest.raises(TooLongError):
            await self.append(upload_id, sent, bytes(len(sent.data) - len(sent.arrived) + size))

    async def do_broken(self, upload_id: str, sent: Sent, size: int) -> None:
        """The client goes in the middle: what came is kept, unless it was the last of it."""
        piece = sent.data[len(sent.arrived) :][:size]

        with pytest.raises(BrokenError):
            await self.uploads.append(upload_id, sent.owner, len(sent.arrived), Body(piece, BrokenError()), None)
        if len(sent.arrived) + len(piece) < len(sent.data):
            sent.arrived += piece

    async def do_killed(self, upload_id: str, sent: Sent, size: int) -> None:
        """At any moment of a piece: it is all there, or nothing of it; a file that is complete is one, or is not."""
        piece = sent.data[len(sent.arrived) :][: size // 2 + 1]
        await self.kill(size % 12, self.append, upload_id, sent, piece)
        found = await self.store.read(uploads.find, upload_id, sent.owner)
        assert found is not None or sent.arrived + piece != sent.data  # a wrong one is forgotten, a right one is not
        if found is None or found[0].finished:
            assert len(sent.arrived + piece) == len(sent.data)
            del self.open[upload_id]
            if found is not None:
                assert sent.arrived + piece == sent.data
                self.has[sent.owner].add(sent.data)
        elif found[0].offset != len(sent.arrived):
            sent.arrived += piece
            assert found[0].offset == len(sent.arrived)

    async def do_end(self, upload_id: str, sent: Sent, _: int) -> None:
        await self.uploads.end(upload_id, sent.owner)
        del self.open[upload_id]

    async def do_killed_beginning(self, owner: Owner, number: int) -> None:
        """The client never heard of it: it begins another one, and this one goes when its time is over."""
        self.count += 1
        new = announced(f"{self.count:03}", owner, FILES[number % len(FILES)])
        await self.kill(number % 6, self.uploads.begin, new)
        found = await self.store.read(uploads.find, new.upload_id, owner)
        if found is not None and found[0].finished:
            self.has[owner].add(FILES[number % len(FILES)])
        elif found is not None:
            self.open[new.upload_id] = Sent(owner, FILES[number % len(FILES)])

    async def do_killed_sweeping(self, _: Owner, number: int) -> None:
        await self.kill(number % 20, self.collector.sweep)
        await self.find_expired()

    async def do_restart(self, *_: object) -> None:
        self.start()

    async def do_later(self, *_: object) -> None:
        self.ahead_s += LIFE_S / 2
        await self.find_expired()

    async def do_expire(self, *_: object) -> None:
        self.ahead_s += LIFE_S + 1
        await self.find_expired()

    async def find_expired(self) -> None:
        for upload_id, sent in list(self.open.items()):
            found = await self.store.read(uploads.find, upload_id, sent.owner)
            if found is None:  # it was told for a day that it has expired
                del self.open[upload_id]
                assert sent.expired
            else:
                assert sent.expired <= found[1]
                sent.expired = found[1]

    async def do_release(self, owner: Owner, number: int) -> None:
        for data in sorted(self.has[owner])[number % 3 :][:1]:
            digest = hashlib.sha256(data).hexdigest()
            await self.store.write(files.release, owner.account_id, digest)
            await self.collector.remove([digest])
            self.has[owner].remove(data)

    async def do_sweep(self, *_: object) -> None:
        """What is left is what somebody has, and what of an upload in progress has arrived."""
        await self.collector.sweep()
        await self.find_expired()
        assert await self.kept() == {hashlib.sha256(data).hexdigest() for data in set().union(*self.has.values())}
        assert set(self.uploads.parts.there()) <= {one for one, sent in self.open.items() if not sent.expired}

    async def append(self, upload_id: str, sent: Sent, piece: bytes, check: bytes | None = None) -> Any:
        digest = None if check is None else b64encode(hashlib.sha256(check).digest()).decode()
        checksum = tus.parse_checksum(None if digest is None else f"sha256 {digest}")
        return await self.uploads.append(upload_id, sent.owner, len(sent.arrived), Body(piece), checksum)

    async def take(self, upload_id: str, sent: Sent, piece: bytes, *, check: bool = False) -> None:
        """Send a piece that fits."""
        arrived = sent.arrived + piece
        if len(arrived) == len(sent.data) and arrived != sent.data:
            with pytest.raises(DigestError):
                await self.append(upload_id, sent, piece)
            del self.open[upload_id]
            return
        stands = await self.append(upload_id, sent, piece, piece if check else None)
        assert (stands.offset, stands.finished) == (len(arrived), len(arrived) == len(sent.data))
        sent.arrived = arrived
        if stands.finished:
            del self.open[upload_id]
            self.has[sent.owner].add(sent.data)

    async def kill(self, after: int, call: Callable[..., Any], *args: Any) -> None:
        """Call, and be killed after so many writes and reads; then be started again."""
        self.steps_left = after
        try:
            await call(*args)
        except (Killed, DigestError, NoRoomError):
            pass
        finally:
            self.start()

    def coming(self, owner: Owner) -> list[Sent]:
        return [sent for sent in self.open.values() if sent.owner == owner and not sent.expired]

    async def kept(self) -> set[str]:
        return {blob.sha256 for page in await self.blobs.pages() for blob in page}

    async def check(self) -> None:
        """Hold what is stored against the model."""
        for owner, has in self.has.items():
            assert owner.account_id is not None
            there = await self.store.read(list_files, owner.account_id)
            assert {one.sha256: one.size_bytes for one in there} == {
                hashlib.sha256(data).hexdigest(): len(data) for data in has
            }
            for data in has:
                got = self.blobs.read(hashlib.sha256(data).hexdigest(), 0, len(data))
                assert b"".join([piece async for piece in got]) == data
            used = await self.store.read(files.usage, owner.account_id)
            assert used.stored_bytes == sum(map(len, has))
            assert used.uploading_bytes == sum(len(sent.data) for sent in self.coming(owner))
            assert used.stored_bytes + used.uploading_bytes <= QUOTA
        for upload_id, sent in self.open.items():
            if not sent.expired:
                assert (await self.uploads.show(upload_id, sent.owner)).offset == len(sent.arrived)
                path = self.uploads.parts.path(upload_id)
                assert not sent.arrived or path.read_bytes()[: len(sent.arrived)] == sent.arrived
            (other,) = set(self.owners) - {sent.owner}
            with pytest.raises(NoUploadError):
                await self.uploads.show(upload_id, other)

    async def end(self) -> None:
        """Whatever has happened, each upload can be brought to its end; and when all is let go of, nothing is left."""
        for upload_id, sent in list(self.open.items()):
            if not sent.expired:
                await self.take(upload_id, sent, sent.data[len(sent.arrived) :])
        await self.check()
        for owner in self.owners:
            while self.has[owner]:
                await self.do_release(owner, 0)
        self.ahead_s += 3 * LIFE_S
        await self.do_sweep()
        assert (await self.kept(), self.uploads.parts.there()) == (set(), [])
        assert not self.uploads._known
        assert not self.uploads._turns


def list_files(tx: Any, account_id: str) -> list[files.File]:
    """Return all files of an account."""
    return files.of_account(tx, account_id, before=None, limit=100)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A directory to begin with."""
    with histories.template(History) as made:
        yield made


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_no_byte_is_lost_wrong_or_left_behind(template: Path, steps: list[histories.Step]) -> None:
    """After every step; and what was said to be stored is there, whatever was killed."""
    histories.run(History, steps, template)


@pytest.mark.needs("postgresql")
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_upload_histories_on_postgresql(
    postgresql: Server, postgresql_schema: str, steps: list[histories.Step]
) -> None:
    """Fewer of them: what can differ is the database, not the rules."""
    url = postgresql.make(postgresql_schema)
    try:
        histories.run(lambda directory: History(directory, url), steps)
    finally:
        postgresql.drop(url)

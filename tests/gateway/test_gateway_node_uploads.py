"""A node's uploads to a real gateway, over a line that spoils them, and where the gateway will never take them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import sqlalchemy as sa
import trio
from faulty_line import BYTE, Line
from scripted import PortGateway, submit

from edgeagent.errors import RefusedError
from edgeagent.gateway.store.engine import open_engine
from edgeagent.gateway.store.tables import uploads as table
from edgeagent.node import uploads
from edgeagent.rest import Rest
from edgeagent.wire.messages import Output
from edgeagent.wire.urls import GatewayUrl

SMALL, LARGE = 1000, uploads.SMALL_BYTES + 1000


@attrs.define
class Bench:
    """A node that holds an attempt, behind a line."""

    line: Line
    url: str
    token: str
    attempt_id: str
    directory: Path

    def output(self, size: int) -> Output:
        """Leave an output of so many bytes."""
        data = BYTE * size
        self.path.write_bytes(data)
        return Output(name="out", size_bytes=size, sha256=hashlib.sha256(data).hexdigest())

    @property
    def path(self) -> Path:
        """Where the output lies."""
        return self.directory / "0"

    async def put(self, output: Output) -> None:
        """Try once to upload it."""
        async with Rest(GatewayUrl.parse(self.url)) as rest:
            await uploads.put(rest, self.token, self.attempt_id, output, self.path)

    def stored(self) -> list[tuple[bool, int]]:
        """Return the uploads of the gateway's database: whether finished, and how far."""
        engine = open_engine(self.line.gateway.data_dir / "gateway.db", writer=False)
        try:
            with engine.connect() as connection:
                rows = connection.execute(sa.select(table.c.finished_at, table.c.offset_bytes)).all()
        finally:
            engine.dispose()
        return [(row.finished_at is not None, row.offset_bytes) for row in rows]


@pytest.fixture
async def bench(port_gateway: PortGateway, nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Bench]:
    """See there."""
    operator = await port_gateway.enlist()
    async with port_gateway.http(await port_gateway.account()) as http, port_gateway.as_node(operator) as node:
        await node.ready()
        await submit(http)
        dispatch = await node.accept()
        line = Line(port_gateway)
        url = await line.run(nursery)
        (tmp_path / "outputs").mkdir()
        yield Bench(line, url, operator.token, dispatch.attempt_id, tmp_path / "outputs")


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_what_was_spoiled_on_the_way_is_sent_again(bench: Bench, size: int) -> None:
    """The gateway tells by the digest, the node that its own file is right; one upload is left, and it is complete."""
    output = bench.output(size)
    bench.line.spoil = 2  # of a large file: its creation, which has no body, and the body

    await bench.put(output)

    assert bench.stored() == [(True, size)]
    assert not list(bench.directory.glob("*.upload"))


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_line_that_spoils_everything_is_not_tried_for_ever(bench: Bench, size: int) -> None:
    """After three times the result has to do without the file; nothing of it stays on either side."""
    output = bench.output(size)
    bench.line.spoil = 1000

    with pytest.raises(RefusedError, match="3 times"):
        await bench.put(output)

    assert bench.line.requests <= 6
    assert len(bench.stored()) <= 1
    assert not list(bench.directory.glob("*.upload"))


async def test_an_upload_that_may_not_begin_is_refused_once(bench: Bench) -> None:
    """A 422 that is not about the bytes is the gateway's last word, however right the file is."""
    for size in (0, SMALL, LARGE):
        before = bench.line.requests
        with pytest.raises(RefusedError, match="name, a file name"):
            await bench.put(attrs.evolve(bench.output(size), name=".."))
        assert bench.line.requests == before + 1


async def test_a_file_that_has_changed_is_refused(bench: Bench) -> None:
    """What lies there is not what the result says: no line is at fault, so it is not sent again."""
    output = bench.output(LARGE)
    for data in (b"x" * LARGE, BYTE * (LARGE - 1), BYTE * (LARGE + 1)):
        bench.path.write_bytes(data)
        with pytest.raises(RefusedError, match="has changed"):
            await bench.put(output)
    assert bench.line.requests == 2  # of the first: the others are seen by their size

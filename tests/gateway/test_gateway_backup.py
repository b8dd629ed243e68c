"""A copy of a gateway's directory, made while it works: complete, consistent, and good to go on from."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import sqlalchemy as sa
import trio
from click.testing import CliRunner
from scripted import DIGEST, FILE, on_a_port, submit, upload

from edgeagent.cli.gateway import gateway as command
from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway.backup import Copied, back_up
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import transaction
from edgeagent.wire.messages import Output


async def copy(data_dir: Path, destination: Path) -> Copied:
    """Back up, beside everything else."""
    return await trio.to_thread.run_sync(back_up, GatewaySettings(data_dir=data_dir), destination)


async def test_a_gateway_goes_on_from_a_copy(tmp_path: Path) -> None:
    """Tokens, credits, results, files and the queue are as they were; what came after the copy is not in it."""
    data, saved = tmp_path / "data", tmp_path / "saved"
    listed = (Output(name="image.png", size_bytes=len(FILE), sha256=DIGEST),)
    async with on_a_port(data) as gateway:
        operator, token = await gateway.enlist(), await gateway.account()
        async with gateway.http(token) as http, gateway.as_node(operator) as node:
            await node.ready()
            done, waiting = await submit(http), await submit(http)
            first = await node.accept()
            await upload(gateway, operator, first.attempt_id, "image.png")
            await node.finish(first, outputs=listed)
            held = await node.accept()

            copied = await copy(data, saved)

            late = await submit(http)
            await node.finish(held)
    assert (copied.files, copied.file_bytes, copied.missing) == (1, len(FILE), ())

    async with on_a_port(saved) as gateway, gateway.http(token) as http, gateway.as_node(operator) as node:
        assert (await node.greet(held=(held.attempt_id,))).keep == (held.attempt_id,)
        assert (await node.finish(held)).credited_ucr == 10_000_000
        states = {job["job_id"]: job["status"] for job in (await http.get("/jobs")).json()["jobs"]}
        assert states == {done["job_id"]: "COMPLETED", waiting["job_id"]: "COMPLETED"}
        assert late["job_id"] not in states
        assert (await http.get(f"/jobs/{done['job_id']}/outputs/image.png")).content == FILE
        assert (await http.get("/account")).json()["balance_ucr"] == 980_000_000


async def test_a_copy_under_load_is_whole(tmp_path: Path) -> None:
    """Many commits go on meanwhile: the copied database is one state of it, of which nothing is half."""
    data = tmp_path / "data"
    async with on_a_port(data) as gateway:
        await gateway.enlist()
        async with gateway.http(await gateway.account()) as http, trio.open_nursery() as nursery:

            async def keep_submitting() -> None:
                while True:
                    await submit(http)

            for _ in range(4):
                nursery.start_soon(keep_submitting)
            for number in range(3):
                await copy(data, tmp_path / f"{number}")
            nursery.cancel_scope.cancel()
    for number in range(3):
        engine = sa.create_engine(f"sqlite:///{tmp_path / str(number) / 'gateway.db'}")
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
            jobs, holds = (
                connection.exec_driver_sql(f"SELECT count(*) FROM {what}").scalar_one()
                for what in ("jobs", "ledger_entries WHERE kind = 'hold'")
            )
        engine.dispose()
        assert jobs == holds


def test_the_command_says_what_it_copied(tmp_path: Path) -> None:
    """As text and as JSON; the copy is its owner's alone."""
    data = tmp_path / "data"
    made = CliRunner().invoke(command, ["token", "create", "--data", str(data), "--name", "studio"])
    assert made.exit_code == 0, made.output

    told = CliRunner().invoke(command, ["backup", "--data", str(data), str(tmp_path / "a")])
    assert "a: database of" in told.output
    document = json.loads(
        CliRunner().invoke(command, ["backup", "--data", str(data), str(tmp_path / "b"), "--json"]).output
    )

    assert (document["schema"], document["files"]) == ("edgeagent.backup/1", 0)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"gateway.db", "blobs"}
    assert (tmp_path / "a" / "gateway.db").stat().st_mode & 0o777 == 0o600


def test_a_copy_on_another_disk_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be linked their bytes are read, and one that is not what its name says ends the backup."""

    def another_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", another_disk)
    place = GatewaySettings(data_dir=tmp_path / "data")
    with transaction(place):
        pass
    file = place.blobs / "sha256" / DIGEST[:2] / DIGEST
    file.parent.mkdir(parents=True)
    file.write_bytes(FILE)
    copied = back_up(place, tmp_path / "whole")
    assert (copied.files, copied.linked) == (1, 0)
    assert (tmp_path / "whole" / "blobs" / "sha256" / DIGEST[:2] / DIGEST).read_bytes() == FILE

    file.write_bytes(FILE[:-1] + b"?")
    with pytest.raises(EdgeAgentError, match=f"{DIGEST} is damaged"):
        back_up(place, tmp_path / "spoiled")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("spoiled")]


def test_what_cannot_be_copied_is_one_line(tmp_path: Path) -> None:
    """A destination that is there, no gateway, a database that has its own tools."""
    (tmp_path / "there").mkdir()
    place = GatewaySettings(data_dir=tmp_path / "data")
    with pytest.raises(UsageError, match="there exists"):
        back_up(place, tmp_path / "there")
    with pytest.raises(EdgeAgentError, match="no gateway in"):
        back_up(place, tmp_path / "new")
    elsewhere = GatewaySettings(data_dir=tmp_path, postgres=sa.make_url("postgresql+psycopg://me:secret@host/db"))
    with pytest.raises(UsageError, match="pg_dump") as refused:
        back_up(elsewhere, tmp_path / "new")
    assert "secret" not in str(refused.value)
    assert not (tmp_path / "new").exists()

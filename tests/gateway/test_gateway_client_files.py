"""A submitter's files, by the client and by ``edgeagent files``, to a real gateway over lines that break."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from click.testing import CliRunner, Result
from faulty_line import BYTE, Line
from scripted import PortGateway, on_a_port

from edgeagent import patience
from edgeagent.cli import main
from edgeagent.client import Client
from edgeagent.errors import EdgeAgentError, RefusedError, UnreachableError
from edgeagent.wire.urls import GatewayUrl

SIZE = 6_000_000
DATA = BYTE * SIZE
DIGEST = hashlib.sha256(DATA).hexdigest()

Command = Callable[..., object]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again without a wait."""
    monkeypatch.setattr(patience, "WAITS_S", (0.0,))


@pytest.fixture
async def line(port_gateway: PortGateway, nursery: trio.Nursery) -> Line:
    """A line to the gateway."""
    return Line(port_gateway)


@pytest.fixture
async def client(port_gateway: PortGateway, line: Line, nursery: trio.Nursery) -> AsyncIterator[Client]:
    """A submitter at the end of the line."""
    async with Client(GatewayUrl.parse(await line.run(nursery)), await port_gateway.account()) as client:
        yield client


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A file."""
    path = tmp_path / "scène.blend"
    path.write_bytes(DATA)
    return path


async def test_a_file_goes_up_and_comes_down_however_often_the_line_breaks(
    client: Client, line: Line, scene: Path, tmp_path: Path
) -> None:
    """What has arrived is not sent again, in either direction; nothing is left beside the file."""
    line.cuts = [2_000_000, 4_500_000]
    there = await client.upload(scene)
    assert not line.cuts
    assert line.carried < SIZE + 3_000_000  # both cuts may have lost what was on its way
    assert there == {"ref": f"sha256:{DIGEST}", "sha256": DIGEST, "name": "scène.blend", "size_bytes": SIZE}
    assert [one["name"] async for one in client.files()] == ["scène.blend"]

    (tmp_path / "there").mkdir()
    line.carried, line.cuts = 0, [2_000_000, 4_500_000]
    path = await client.fetch(DIGEST, tmp_path / "there")
    assert not line.cuts
    assert line.carried < SIZE + 3_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == DIGEST
    assert [one.name for one in (tmp_path / "there").iterdir()] == ["scène.blend"]


async def test_what_an_earlier_command_has_begun_is_gone_on_with(
    client: Client, line: Line, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway knows the upload, the directory the download; each in the second command is only the rest."""
    monkeypatch.setattr(patience, "GIVE_UP_S", -1.0)  # each break ends the command
    line.cuts = [4_000_000]
    with pytest.raises(UnreachableError):
        await client.upload(scene)
    while (await client.call("GET", "/uploads"))["uploads"][0]["active"]:
        await trio.lowlevel.checkpoint()
    line.carried = 0
    await client.upload(scene)
    assert line.carried < SIZE - 1_000_000

    line.carried, line.cuts = 0, [4_000_000]
    with pytest.raises(UnreachableError):
        await client.fetch(DIGEST, tmp_path / "copy")
    line.carried = 0
    await client.fetch(DIGEST, tmp_path / "copy")
    assert line.carried < SIZE - 1_000_000
    assert (tmp_path / "copy").read_bytes() == DATA


async def test_what_the_gateway_has_is_not_sent(client: Client, line: Line, scene: Path) -> None:
    """Of the same account."""
    await client.upload(scene)
    line.carried = 0
    await client.upload(scene)
    assert line.carried < 10_000


async def test_a_spoiled_upload_is_sent_again(client: Client, line: Line, scene: Path) -> None:
    """The file here is right, so the line was not."""
    line.spoil = 3  # the list of uploads, the beginning, and the body
    assert (await client.upload(scene))["sha256"] == DIGEST
    assert line.carried > 2 * SIZE


async def test_a_file_that_is_written_to_meanwhile_is_not_taken(client: Client, scene: Path) -> None:
    """Neither a longer nor another one, and the person hears why."""

    def write(there: int, _: int) -> None:
        if there == 0:
            scene.write_bytes(b"x" * SIZE)

    with pytest.raises(EdgeAgentError, match="written to while"):
        await client.upload(scene, write)
    assert [one async for one in client.files()] == []


async def test_a_spoiled_download_is_no_file(client: Client, line: Line, scene: Path, tmp_path: Path) -> None:
    """Nothing stays of it."""
    await client.upload(scene)
    line.spoil = 2
    with pytest.raises(EdgeAgentError, match="damaged"):
        await client.fetch(DIGEST, tmp_path / "new" / "copy")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(RefusedError, match="no file"):
        await client.fetch("0" * 64, tmp_path / "new" / "copy")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.fixture
async def command(port_gateway: PortGateway) -> Command:
    """Run a command as a submitter."""
    return partial(run, port_gateway, await port_gateway.account())


async def run(gateway: PortGateway, token: str, *arguments: object) -> Result:
    """Run a command in a thread."""
    environ = {"GATEWAY_URL": gateway.url, "EDGEAGENT_TOKEN": token}
    invoke = partial(CliRunner().invoke, main, [str(one) for one in arguments], env=environ)
    result = await trio.to_thread.run_sync(invoke)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


async def test_files_by_hand(command, tmp_path: Path) -> None:
    """Upload two, list them with the quota, fetch one, let go of both."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name * 1000)
    uploaded = await command("files", "upload", tmp_path / "one", tmp_path / "two")
    first, second = uploaded.stdout.split()
    listed = await command("files", "list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [second, first]
    assert "5.9 KiB of 10 GiB stored" in listed.stderr
    document = json.loads((await command("files", "list", "--json")).stdout)
    assert (document["schema"], document["stored_bytes"], document["quota_bytes"]) == (
        "edgeagent.files/1",
        6000,
        10 << 30,
    )
    assert [one["name"] for one in document["files"]] == ["two", "one"]

    (tmp_path / "got").mkdir()
    assert (await command("files", "download", first, "--output", tmp_path / "got")).stdout.strip().endswith("got/one")
    assert (tmp_path / "got" / "one").read_text() == "one" * 1000
    assert (await command("files", "delete", first, second)).exit_code == 0
    assert json.loads((await command("files", "list", "--json")).stdout)["files"] == []
    assert (await command("files", "delete", first)).exit_code == 3


async def test_a_job_is_submitted_with_files_of_this_machine(command, port_gateway: PortGateway, tmp_path) -> None:
    """They are uploaded first, each once, and named by their digests; references stay as they are."""
    (tmp_path / "scene").write_text("scene")
    operator = await port_gateway.enlist()
    there = (await command("files", "upload", tmp_path / "scene")).stdout.strip()
    submitted = await command(
        "job", "submit", "render", "--input", f"scene={tmp_path / 'scene'}", "--input", f"again={there}"
    )
    assert submitted.exit_code == 0, submitted.stderr
    async with port_gateway.as_node(operator) as node:
        await node.ready(fetches=("blob",))
        inputs = (await node.accept()).inputs
    assert {name: one.ref for name, one in inputs.items()} == {"scene": there, "again": there}


async def test_what_cannot_be_uploaded_is_said_in_one_line(command, tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "there").write_text("there")
    for arguments, code, words in (
        (("files", "upload", tmp_path / "there", tmp_path / "missing"), 2, "missing cannot be read: No such file"),
        (("files", "upload", tmp_path), 2, "cannot be read: Is a directory"),
        (("files", "download", "scene.blend"), 2, "sha256:DIGEST"),
        (("files", "download", "0" * 64), 3, "you have no file"),
        (("job", "submit", "render", "--input", f"a={tmp_path / 'missing'}"), 2, "cannot be read: No such file"),
        (("job", "submit", "render", "--input", "a=sha256:1", "--input", "a=sha256:2"), 2, "a is named twice"),
        (("job", "submit", "render", "--input", "a=ftp://host/file"), 2, "is no reference"),
        (("job", "submit", "render", "--input", "a"), 2, "NAME=PATH"),
    ):
        result = await command(*arguments)
        assert (result.exit_code, result.stdout) == (code, ""), arguments
        assert words in " ".join(result.stderr.split())
    assert (await command("files", "list")).stdout == ""


async def test_a_full_quota_names_the_file_and_what_is_left(tmp_path: Path) -> None:
    """The gateway's owner set it."""
    (tmp_path / "scene").write_bytes(bytes(2000))
    async with on_a_port(tmp_path / "data", quota_bytes=1000) as gateway:
        token = await gateway.account()
        result = await run(gateway, token, "files", "upload", tmp_path / "scene")
        assert result.exit_code == 3
        assert "scene: the gateway says no: 1000 of the 1000 bytes of your quota are left" in result.stderr
        assert "0 B of 1000 B" in (await run(gateway, token, "files", "list")).stderr

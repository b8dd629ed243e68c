"""REST over real HTTP: files from a node's attempt to the submitter."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import httpx2
import pytest
from scripted import DIGEST, FILE, Node, Operator, PortGateway, raw, refused, submit, upload

from edgeagent.wire.messages import JobProgress, Output


@pytest.fixture
async def attempt(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> AsyncIterator[tuple[Operator, str, str, Node]]:
    """A node that runs an attempt of a job."""
    operator = await port_gateway.enlist()
    async with port_gateway.as_node(operator) as node:
        await node.ready()
        job = await submit(submitter)
        yield operator, (await node.accept()).attempt_id, job["job_id"], node


async def test_a_result_has_the_value_and_the_files(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """The files come back byte for byte, from where the result says."""
    operator = await port_gateway.enlist()
    name = "größe & more?.png"
    async with port_gateway.as_node(operator) as node:
        await node.ready()
        job = await submit(submitter)
        dispatch = await node.accept()
        refused(await submitter.get(f"/jobs/{job['job_id']}/result"), 400, "not finished")
        await node.say(JobProgress(attempt_id=dispatch.attempt_id, fraction=0.25, text="tile 1"))
        uploaded = await upload(port_gateway, operator, dispatch.attempt_id, name)
        assert uploaded.status_code == 201
        assert uploaded.json() == {"name": name, "size_bytes": len(FILE), "sha256": DIGEST}
        running = (await submitter.get(f"/jobs/{job['job_id']}")).json()
        assert running["progress"] == {"fraction": 0.25, "text": "tile 1"}
        await node.finish(
            dispatch,
            value={"pixels": 5},
            result_ref="s3://elsewhere",
            outputs=(Output(name=name, size_bytes=len(FILE), sha256=DIGEST),),
        )

    result = (await submitter.get(f"/jobs/{job['job_id']}/result")).json()
    url = result["outputs"][0].pop("download_url")
    assert result == {
        "job_id": job["job_id"],
        "outcome": "completed",
        "detail": "",
        "value": {"pixels": 5},
        "result_ref": "s3://elsewhere",
        "outputs": [{"name": name, "size_bytes": len(FILE), "sha256": DIGEST}],
    }
    async with port_gateway.http(submitter.headers["authorization"].split()[1], prefix="") as http:
        download = await http.get(url)
        assert download.content == FILE
        assert download.headers["x-content-type-options"] == "nosniff"
        assert download.headers["content-disposition"].startswith("attachment")
        refused(await http.get(url + "x"), 404, "no output")
    done = (await submitter.get(f"/jobs/{job['job_id']}")).json()
    assert (done["status"], done["credited_ucr"], done["progress"]["fraction"]) == ("COMPLETED", 10_000_000, 1.0)
    assert done["attempts"][0]["node_name"] == "node"


async def test_an_upload_may_be_repeated(port_gateway: PortGateway, attempt: tuple[Operator, str, str, Node]) -> None:
    """And the last one of a name counts."""
    operator, attempt_id, _, _ = attempt
    for _ in range(2):
        assert (await upload(port_gateway, operator, attempt_id, "a")).status_code == 201
    other = hashlib.sha256(b"other").hexdigest()
    assert (await upload(port_gateway, operator, attempt_id, "a", data=b"other", sha256=other)).status_code == 201


async def test_an_upload_that_is_damaged_is_refused(
    port_gateway: PortGateway, attempt: tuple[Operator, str, str, Node]
) -> None:
    """The digest must be the announced one, and be one."""
    operator, attempt_id, _, _ = attempt
    refused(await upload(port_gateway, operator, attempt_id, "a", data=b"x"), 422, "digest")
    refused(await upload(port_gateway, operator, attempt_id, "a", sha256="zz"), 422, "sha256")
    async with port_gateway.http(operator.token) as http:
        refused(await http.put(f"/attempts/{attempt_id}/outputs/a", content=b"x"), 422, "sha256")


async def test_an_upload_for_anothers_attempt_is_refused(
    port_gateway: PortGateway, attempt: tuple[Operator, str, str, Node]
) -> None:
    """Or for none; a node writes only what it holds, and the sender of much reads that it is in vain."""
    _, attempt_id, _, _ = attempt
    thief = await port_gateway.enlist("thief")
    refused(await upload(port_gateway, thief, attempt_id, "a"), 404, "holds no such attempt")
    refused(await upload(port_gateway, thief, "nothing", "a", data=bytes(8 << 20)), 404)


async def test_an_upload_for_an_ended_job_is_refused(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient, attempt: tuple[Operator, str, str, Node]
) -> None:
    """Nobody would ever read it."""
    operator, attempt_id, job_id, _ = attempt
    await submitter.post(f"/jobs/{job_id}/cancel")

    refused(await upload(port_gateway, operator, attempt_id, "a"), 404, "ended")


async def test_an_upload_says_how_long_it_is(
    port_gateway: PortGateway, attempt: tuple[Operator, str, str, Node]
) -> None:
    """411 without Content-Length, 413 over 256 MiB, before anything is read."""
    operator, attempt_id, _, _ = attempt

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    async with port_gateway.http(operator.token) as http:
        path = f"/attempts/{attempt_id}/outputs/a?sha256={DIGEST}"
        refused(await http.put(path, content=pieces()), 411, "Content-Length")
    head = f"PUT /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {operator.token}\r\n"
    status = await raw(port_gateway, head + f"Content-Length: {(256 << 20) + 1}\r\n\r\n")
    assert status.startswith("HTTP/1.1 413")


@pytest.mark.parametrize("name", ["..", "../../etc/passwd", "a/b", "x" * 256, "\0", ""])
async def test_a_name_that_is_a_path_writes_nothing(
    port_gateway: PortGateway, attempt: tuple[Operator, str, str, Node], name: str
) -> None:
    """Files lie under their digests; a name is only a name, or refused."""
    operator, attempt_id, _, _ = attempt
    before = sorted(port_gateway.data_dir.parent.rglob("*"))
    encoded = "".join(f"%{byte:02X}" for byte in name.encode())
    status = await raw(
        port_gateway,
        f"PUT /api/v1/attempts/{attempt_id}/outputs/{encoded}?sha256={hashlib.sha256(b'').hexdigest()} HTTP/1.1\r\n"
        f"Host: x\r\nAuthorization: Bearer {operator.token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )
    assert status.split()[1] in ({"201"} if name == ".." else {"404", "405", "422"})
    added = set(port_gateway.data_dir.parent.rglob("*")) - set(before)
    assert all(port_gateway.data_dir / "blobs" in path.parents for path in added)

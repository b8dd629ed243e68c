"""REST over real HTTP: files from a node's attempt to the submitter."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import httpx2
import pytest
from scripted import DIGEST, FILE, PortGateway, on_both_databases, refused, submit, tus, upload
from scripted_node import Node, Operator

from edgeagent.wire.messages import JobProgress, Output

pytestmark = on_both_databases


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
        assert uploaded.headers["upload-offset"] == str(len(FILE))
        running = (await submitter.get(f"/jobs/{job['job_id']}")).json()
        assert running["progress"] == {"fraction": 0.25, "text": "tile 1"}
        await node.finish(
            dispatch,
            value={"pixels": 5},
            result_ref="s3://elsewhere",
            outputs=(Output(name=name, size_bytes=len(FILE), sha256=DIGEST),),
        )

    result = (await submitter.get(f"/jobs/{job['job_id']}/result")).json()
    url, kept_s = result["outputs"][0].pop("download_url"), result.pop("expires_in")
    assert 30 * 86400 - 300 < kept_s <= 30 * 86400
    assert result == {
        "job_id": job["job_id"],
        "outcome": "completed",
        "detail": "",
        "value": {"pixels": 5},
        "result_ref": "s3://elsewhere",
        "outputs": [{"name": name, "size_bytes": len(FILE), "sha256": DIGEST}],
        "download_url": url,
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
    """And the last one of a name counts; what it took the place of is gone at once, unless something else has it."""
    operator, attempt_id, _, _ = attempt
    for _ in range(2):
        assert (await upload(port_gateway, operator, attempt_id, "a")).status_code == 201
    other = hashlib.sha256(b"other").hexdigest()
    assert (await upload(port_gateway, operator, attempt_id, "b")).status_code == 201
    for name, kept in (("a", {DIGEST, other}), ("b", {other})):
        assert (await upload(port_gateway, operator, attempt_id, name, data=b"other", sha256=other)).status_code == 201
        stored = (port_gateway.data_dir / "blobs" / "sha256").glob("*/*")
        assert {path.name for path in stored} == kept


async def test_an_upload_that_is_damaged_is_refused(
    port_gateway: PortGateway, attempt: tuple[Operator, str, str, Node]
) -> None:
    """The digest must be the announced one, and be one."""
    operator, attempt_id, _, _ = attempt
    refused(await upload(port_gateway, operator, attempt_id, "a", data=b"x"), 422, "digest")
    refused(await upload(port_gateway, operator, attempt_id, "a", sha256="zz"), 422, "sha256")


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


@pytest.mark.parametrize("name", ["..", ".", "../../etc/passwd", "a/b", "x" * 256, "\0", ""])
async def test_a_name_that_is_no_file_name_is_refused(
    port_gateway: PortGateway, attempt: tuple[Operator, str, str, Node], name: str
) -> None:
    """Files lie under their digests; a name is only a name, and still none that could lead elsewhere."""
    operator, attempt_id, _, _ = attempt
    before = set(port_gateway.data_dir.parent.rglob("*"))

    refused(await upload(port_gateway, operator, attempt_id, name), 422, "name")

    added = set(port_gateway.data_dir.parent.rglob("*")) - before
    assert not [path for path in added if path.is_file() and "gateway.db" not in path.name]


async def test_an_upload_is_no_larger_than_its_job_may_leave(
    port_gateway: PortGateway, attempt: tuple[Operator, str, str, Node]
) -> None:
    """413 over 256 MiB, with how much is left, before anything is sent; a job with more scratch may leave more."""
    operator, attempt_id, _, _ = attempt
    async with port_gateway.http(operator.token) as http:
        large = tus((256 << 20) + 1, name="a", sha256=DIGEST)
        refused(await http.post(f"/attempts/{attempt_id}/uploads", headers=large), 413, str(256 << 20))

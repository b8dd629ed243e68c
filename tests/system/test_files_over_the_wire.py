"""A job's files through a whole network: outputs up, and down again as another job's inputs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio

LEAVES = """
output = current_job().output_dir
(output / "small").write_bytes(b"s" * 1000)
(output / "empty").write_bytes(b"")
(output / "large").write_bytes(b"l" * 3_000_000)
return WorkerResult(success=True)
"""
SIZES = """
return WorkerResult(success=True, value={name: path.stat().st_size for name, path in current_job().inputs.items()})
"""


@pytest.mark.needs("sandbox")
async def test_what_one_job_leaves_another_gets(network, tmp_path: Path) -> None:
    """In one request or in pieces, whole and with the right digests; the gateway's file is an input by its digest."""
    with trio.fail_after(120):
        async with network(leaves=LEAVES, sizes=SIZES) as session:
            client = session.client
            job = await client.submit("leaves", {})
            state = await client.wait(job["job_id"])
            assert "COMPLETED" == state["status"], state
            outputs = (await client.result(job["job_id"]))["outputs"]
            stored = {one["name"]: await client.download(job["job_id"], one, tmp_path) for one in outputs}
            digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in stored.items()}
            inputs = {one["name"]: {"ref": f"sha256:{one['sha256']}"} for one in outputs}
            (second,) = await client.submit_batch([{"job_type": "sizes", "inputs": inputs}])
            state = await client.wait(second["job_id"])
            assert "COMPLETED" == state["status"], state
            value = (await client.result(second["job_id"]))["value"]

    assert {"small": 1000, "empty": 0, "large": 3_000_000} == value
    assert {one["name"]: one["sha256"] for one in outputs} == digests

"""A node that is killed while a job's input comes in goes on where it was."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio
from machine import Machine

from edgeagent.client import Client
from edgeagent.demo.network import healthy

LIMIT_S = 300.0
MIB = 1 << 20
SIZE_BYTES = 6 * MIB
DIGEST = """
import hashlib
data = current_job().inputs["scene"].read_bytes()
return WorkerResult(success=True, value=[len(data), hashlib.sha256(data).hexdigest()])
"""


async def until_there(cache: Path, least: int) -> Path:
    """Wait until so many bytes of some file have come in; return the file."""
    while True:
        for path in cache.glob("partial/*"):
            if path.suffix != ".json" and path.stat().st_size >= least:
                return path
        await trio.sleep(0.02)


@pytest.mark.needs("sandbox")
async def test_a_download_outlives_a_killed_node(tmp_path: Path) -> None:
    """kill -9 in the middle: what had come is not fetched again, the digest is right, and nothing half is left."""
    machine = Machine(tmp_path, digest=DIGEST)
    scene, cache, witness = tmp_path / "scene", tmp_path / "node" / "cache", tmp_path / "witness"
    scene.write_bytes(bytes(range(256)) * (SIZE_BYTES // 256))
    with trio.fail_after(LIMIT_S):
        async with machine.gateway() as gateway:
            url, token, registered = await machine.set_up(await gateway.first_line())
            async with Client(url, token) as client:
                sha256 = (await client.upload(scene))["sha256"]
                job = {"job_type": "digest", "inputs": {"scene": {"ref": f"sha256:{sha256}"}}}
                async with machine.node(EDGEAGENT_SHARE_DOWNLOAD="1M") as first:
                    await healthy(url, registered.token, first)
                    (submitted,) = await client.submit_batch([job])
                    partial = await until_there(cache, 2 * MIB)
                    first.process.send_signal(signal.SIGKILL)
                    await first.process.wait()
                os.link(partial, witness)  # keeps what has come from being another file of that name
                came = witness.stat().st_size
                async with machine.node():
                    ended = await client.wait(submitted["job_id"])
                value = (await client.result(submitted["job_id"]))["value"]

    assert 2 * MIB <= came < SIZE_BYTES
    assert ("COMPLETED", [SIZE_BYTES, sha256]) == (ended["status"], value)
    assert witness.samefile(cache / "objects" / sha256)
    assert not list(cache.glob("partial/*"))

"""``/health/ready``: whether the gateway can do its work, for whoever sends it traffic."""

from __future__ import annotations

import hashlib

import httpx2
from scripted import PortGateway, refused, tus

from edgeagent.gateway.store.engine import open_engine


async def test_a_gateway_that_can_work_says_so(anyone: httpx2.AsyncClient) -> None:
    """Both of what it needs are named."""
    answer = await anyone.get("/health/ready")

    assert 200 == answer.status_code
    assert {"status": "ready", "checks": {"database": "ok", "blobs": "ok"}} == answer.json()


async def test_a_gateway_without_its_files_is_not_ready(
    port_gateway: PortGateway, anyone: httpx2.AsyncClient, submitter: httpx2.AsyncClient
) -> None:
    """It says what is wrong, takes no file, lives on, and is ready again once that is mended."""
    blobs, away = port_gateway.data_dir / "blobs", port_gateway.data_dir / "away"
    blobs.rename(away)

    answer = await anyone.get("/health/ready")

    assert (503, "degraded", "not writable") == (
        answer.status_code,
        answer.json()["status"],
        answer.json()["checks"]["blobs"],
    )
    assert 200 == (await anyone.get("/health")).status_code
    begin = tus(5, sha256=hashlib.sha256(b"scene").hexdigest(), filename="scene")
    body = {**begin, "Content-Type": "application/offset+octet-stream"}
    refused(await submitter.post("/uploads", headers=body, content=b"scene"), 503)
    away.rename(blobs)
    assert 200 == (await anyone.get("/health/ready")).status_code


async def test_a_gateway_whose_database_is_locked_is_not_ready(
    port_gateway: PortGateway, anyone: httpx2.AsyncClient
) -> None:
    """It asks by writing: a database that can be read is not enough."""
    other = open_engine(port_gateway.data_dir / "gateway.db", writer=True)
    with other.begin():
        answer = await anyone.get("/health/ready")

    assert 503 == answer.status_code
    assert "took no change within 2 s" == answer.json()["checks"]["database"]
    other.dispose()

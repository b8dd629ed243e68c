"""REST over real HTTP: every call of a submitter, and every way to get it wrong."""

from __future__ import annotations

import uuid
from typing import Any

import httpx2
import pytest
from scripted import PortGateway, on_both_databases, refused, submit

from edgeagent.wire.messages import Limits, Outcome

pytestmark = on_both_databases


async def test_a_job_is_submitted(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """It is QUEUED, its price set aside."""
    await port_gateway.enlist()

    job = await submit(submitter, payload={"scene": "cube"})

    assert uuid.UUID(job["job_id"])
    assert job["created_at"].endswith("Z")
    assert {**job, "job_id": "", "created_at": "", "queued_s": 0} == {
        "job_id": "",
        "job_type": "render",
        "status": "QUEUED",
        "priority": 5,
        "max_attempts": 4,
        "deadline_s": None,
        "requires": {"tier": None, "gpus": 0, "memory_bytes": 0},
        "payload_ref": None,
        "requeue_of": None,
        "requeued_as": None,
        "price_ucr": 10_000_000,
        "credited_ucr": 0,
        "created_at": "",
        "finished_at": None,
        "queued_s": 0,
        "running_s": 0.0,
        "progress": {"fraction": None, "text": ""},
        "error": None,
        "attempts": [],
    }
    assert (await submitter.get("/account")).json() == {
        "name": "studio",
        "balance_ucr": 990_000_000,
        "held_ucr": 10_000_000,
        "stored_bytes": 0,
        "quota_bytes": 10 << 30,
    }
    assert (await submitter.get(f"/jobs/{job['job_id']}")).json()["status"] == "QUEUED"


async def test_credits_that_are_short_refuse_the_job(port_gateway: PortGateway) -> None:
    """402, with what is needed and what is there; free jobs are still taken."""
    await port_gateway.enlist()
    async with port_gateway.http(await port_gateway.account("poor", 15_000_000)) as http:
        await submit(http)
        refused(await http.post("/jobs", json={"job_type": "render"}), 402, "10 credits", "5 are there")
        await submit(http, "echo")
        assert len((await http.get("/jobs")).json()["jobs"]) == 2


async def test_a_job_type_that_nobody_ever_offered_is_refused(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """The line says which there are."""
    refused(await submitter.post("/jobs", json={"job_type": "echo"}), 422, "none yet")
    await port_gateway.enlist()
    refused(await submitter.post("/jobs", json={"job_type": "magic"}), 422, "'magic'", "echo, render")


NESTED: Any = None
for _ in range(70):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ["job_type"]),
        ({"job_type": ""}, ["job_type"]),
        ({"job_type": "x" * 101}, ["job_type"]),
        ({"job_type": 5}, ["job_type"]),
        ({"job_type": "a\nb"}, ["job_type"]),
        ({"job_type": "echo", "payload": []}, ["payload"]),
        ({"job_type": "echo", "payload": "x"}, ["payload"]),
        ({"job_type": "echo", "payload": {"n": 1 << 70}}, ["payload"]),
        ({"job_type": "echo", "payload": {"n": NESTED}}, ["payload", "nested"]),
        ({"job_type": "echo", "payload_ref": "s3://x"}, ["payload_ref"]),
        ({"job_type": "echo", "limits": 5}, ["limits"]),
        ({"job_type": "echo", "limits": {"wall_s": 0}}, ["limits", "wall_s"]),
        ({"job_type": "echo", "limits": {"wall_s": "5"}}, ["limits", "wall_s"]),
        ({"job_type": "echo", "limits": {"walls": 5}}, ["limits", "walls"]),
    ],
)
async def test_a_job_of_the_wrong_shape_is_refused(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient, body: dict[str, Any], words: list[str]
) -> None:
    """The line names the field, and nothing is stored."""
    await port_gateway.enlist()

    refused(await submitter.post("/jobs", json=body), 422, *words)

    assert (await submitter.get("/jobs")).json() == {"jobs": [], "next": None}
    assert (await submitter.get("/account")).json()["held_ucr"] == 0


async def test_a_body_over_the_limit_is_refused(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """256 KiB; the sender reads why, although it was still sending."""
    await port_gateway.enlist()
    for size in (256 << 10, 20 << 20):
        refused(await submitter.post("/jobs", json={"job_type": "echo", "payload": {"x": "y" * size}}), 413)
    await submit(submitter, "echo", payload={"x": "y" * (250 << 10)})


async def test_partial_limits_are_filled_up(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """What is not said is the default."""
    operator = await port_gateway.enlist()
    async with port_gateway.as_node(operator) as node:
        await node.ready()
        await submit(submitter, limits={"wall_s": 5, "pids": 7})
        assert (await node.accept()).limits == Limits(wall_s=5.0, pids=7)


async def test_a_long_list_comes_in_pages(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """Each job once, also where jobs come and end meanwhile; a last page that is full has no next."""
    await port_gateway.enlist()
    ids = [(await submit(submitter, "echo"))["job_id"] for _ in range(6)]
    pages: list[list[str]] = []
    place: dict[str, str] = {}
    while len(pages) < 4:
        page = (await submitter.get("/jobs", params={"limit": 2, **place})).json()
        pages.append([job["job_id"] for job in page["jobs"]])
        if page["next"] is None:
            break
        await submit(submitter, "render")
        await submitter.post(f"/jobs/{pages[-1][-1]}/cancel")
        place = {"before": page["next"]}
    assert pages == [ids[:3:-1], ids[3:1:-1], ids[1::-1]]


async def test_another_accounts_job_is_no_place_in_the_list(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """It is answered like one that is not there."""
    await port_gateway.enlist()
    job = (await submit(submitter))["job_id"]
    async with port_gateway.http(await port_gateway.account("other")) as http:
        theirs, nobodys = [await http.get("/jobs", params={"before": one}) for one in (job, "nix")]
    refused(theirs, 422, "before")
    assert theirs.json() == nobodys.json()


async def test_jobs_are_listed_newest_first(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """And filtered by status and type, at most as many as asked for."""
    await port_gateway.enlist()
    ids = [(await submit(submitter, "render" if number % 2 else "echo"))["job_id"] for number in range(4)]
    await submitter.post(f"/jobs/{ids[3]}/cancel")

    async def listed(**params: Any) -> list[str]:
        jobs = (await submitter.get("/jobs", params=params)).json()["jobs"]
        return [job["job_id"] for job in jobs]

    assert await listed() == ids[::-1]
    assert await listed(limit=2) == [ids[3], ids[2]]
    assert await listed(status="CANCELLED") == [ids[3]]
    assert await listed(status="QUEUED", job_type="echo") == [ids[2], ids[0]]
    for params in ({"before": "nix"}, {"limit": 0}, {"limit": 201}, {"limit": "x"}, {"status": "BROKEN"}):
        refused(await submitter.get("/jobs", params=params), 422, next(iter(params)))


async def test_another_accounts_jobs_are_not_there(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """404 for everything, and nothing changes."""
    await port_gateway.enlist()
    job = await submit(submitter)
    async with port_gateway.http(await port_gateway.account("other")) as other:
        assert (await other.get("/jobs")).json() == {"jobs": [], "next": None}
        for path in ("", "/result", "/outputs/x"):
            refused(await other.get(f"/jobs/{job['job_id']}{path}"), 404)
        refused(await other.post(f"/jobs/{job['job_id']}/cancel"), 404, job["job_id"])
    assert (await submitter.get(f"/jobs/{job['job_id']}")).json()["status"] == "QUEUED"


async def test_a_queued_job_is_cancelled(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """Its price comes back; a second time is refused."""
    await port_gateway.enlist()
    job = await submit(submitter)

    answer = await submitter.post(f"/jobs/{job['job_id']}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
    assert (await submitter.get("/account")).json()["held_ucr"] == 0
    refused(await submitter.post(f"/jobs/{job['job_id']}/cancel"), 400, "CANCELLED")
    result = (await submitter.get(f"/jobs/{job['job_id']}/result")).json()
    assert (result["outcome"], result["outputs"]) == (None, [])


async def test_a_failed_job_says_why(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """As the job's error and in its result, in one line."""
    operator = await port_gateway.enlist()
    async with port_gateway.as_node(operator) as node:
        await node.ready()
        job = await submit(submitter)
        await node.finish(await node.accept(), Outcome.REJECTED, detail="limit: over\n10,000,000")

    failed = (await submitter.get(f"/jobs/{job['job_id']}")).json()
    assert (failed["status"], failed["error"]) == ("FAILED", "rejected: limit: over 10,000,000")
    result = (await submitter.get(f"/jobs/{job['job_id']}/result")).json()
    assert (result["outcome"], result["detail"], result["value"]) == ("rejected", "limit: over 10,000,000", None)
    assert (await submitter.get("/account")).json()["balance_ucr"] == 1_000_000_000

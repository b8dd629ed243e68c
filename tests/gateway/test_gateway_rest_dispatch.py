"""RenderTrust's own call for submitting: a node gets the job at once, or nothing is taken."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from scripted import PortGateway, on_both_databases, refused, submit
from scripted_node import Operator

from edgeagent.wire.messages import JobDispatch

pytestmark = on_both_databases
SCENE: dict[str, Any] = {"job_type": "render", "payload_ref": "https://example.org/scene.json"}


@pytest.fixture
async def worker(port_gateway: PortGateway) -> Operator:
    """A registered node."""
    return await port_gateway.enlist()


async def test_a_job_is_given_to_a_node_at_once(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient
) -> None:
    """The answer names the node, which has it, and the price is set aside."""
    async with port_gateway.as_node(worker) as node:
        await node.ready(fetches=("https",))
        answer = await submitter.post("/jobs/dispatch", json=SCENE)
        dispatch = await node.hear(JobDispatch)
        account = (await submitter.get("/account")).json()

    assert answer.status_code == 201
    assert answer.json() == {"job_id": dispatch.job_id, "node_id": worker.node_id, "status": "DISPATCHED"}
    assert dispatch.payload_ref == SCENE["payload_ref"]
    assert account["held_ucr"] == dispatch.price_ucr > 0


async def test_nothing_is_taken_where_no_node_has_room(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient
) -> None:
    """No node is linked, none fetches what the job needs, none has a free slot: 503, and when to ask again."""
    answers = [await submitter.post("/jobs/dispatch", json=SCENE)]
    async with port_gateway.as_node(worker) as node:
        await node.ready()
        answers.append(await submitter.post("/jobs/dispatch", json=SCENE))
    async with port_gateway.as_node(worker) as node:
        await node.ready(fetches=("https",))
        taken = await submit(submitter)
        await node.accept()
        answers.append(await submitter.post("/jobs/dispatch", json=SCENE))

    for answer in answers:
        refused(answer, 503, "no node", "POST /api/v1/jobs")
        assert answer.headers["retry-after"] == "5"
    assert [job["job_id"] for job in (await submitter.get("/jobs")).json()["jobs"]] == [taken["job_id"]]


async def test_a_job_that_cannot_be_paid_for_leaves_its_node_free(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient
) -> None:
    """402, and the next one gets the slot."""
    poor = await port_gateway.account("poor", 0)
    async with port_gateway.http(poor) as http, port_gateway.as_node(worker) as node:
        await node.ready(fetches=("https",))
        refused(await http.post("/jobs/dispatch", json=SCENE), 402, "credits")
        assert (await submitter.post("/jobs/dispatch", json=SCENE)).status_code == 201
        await node.hear(JobDispatch)


async def test_what_is_asked_for_is_checked(submitter: httpx2.AsyncClient) -> None:
    """A reference is needed, and it must be one."""
    refused(await submitter.post("/jobs/dispatch", json={"job_type": "render"}), 422, "payload_ref")
    refused(await submitter.post("/jobs/dispatch", json={**SCENE, "payload_ref": "ftp://x"}), 422, "payload_ref")

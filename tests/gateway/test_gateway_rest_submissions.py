"""Submitting over HTTP: what a job may carry, batches, keys that make repeating safe, dead letters again."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import trio
from scripted import DIGEST, FILE, PortGateway, on_both_databases, refused, submit, upload
from scripted_node import Operator

from edgeagent.wire.messages import JobDispatch, Outcome, Output

pytestmark = on_both_databases


@pytest.fixture
async def worker(port_gateway: PortGateway) -> Operator:
    """A registered node, so that there are job types."""
    return await port_gateway.enlist()


async def dead(gateway: PortGateway, worker: Operator, http: httpx2.AsyncClient) -> dict[str, Any]:
    """Return a job that was rejected."""
    job = await submit(http)
    async with gateway.as_node(worker) as node:
        await node.ready()
        await node.finish(await node.accept(), Outcome.REJECTED, detail="no such scene")
    found: dict[str, Any] = (await http.get(f"/jobs/{job['job_id']}")).json()
    assert found["status"] == "FAILED"
    return found


async def balance(http: httpx2.AsyncClient) -> tuple[int, int]:
    """Return what the account may spend and what is held, in credits."""
    account = (await http.get("/account")).json()
    return account["balance_ucr"] // 1_000_000, account["held_ucr"] // 1_000_000


async def test_what_a_job_asks_for_is_shown(worker: Operator, submitter: httpx2.AsyncClient) -> None:
    """Priority, deadline, attempts and requirements come back as they were given."""
    job = await submit(
        submitter,
        priority=9,
        deadline_s=60.5,
        max_attempts=2,
        requires={"tier": "B", "gpus": 1, "memory_bytes": 1 << 30},
        payload_ref="https://example.org/scene.json",
    )

    assert (job["priority"], job["deadline_s"], job["max_attempts"]) == (9, 60.5, 2)
    assert job["requires"] == {"tier": "B", "gpus": 1, "memory_bytes": 1 << 30}
    assert job["payload_ref"] == "https://example.org/scene.json"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"priority": 10}, ["priority"]),
        ({"priority": 1.5}, ["priority"]),
        ({"max_attempts": 5}, ["max_attempts"]),
        ({"max_attempts": 0}, ["max_attempts"]),
        ({"deadline_s": 0}, ["deadline_s"]),
        ({"deadline_s": 1e9}, ["deadline_s"]),
        ({"requires": {"tier": "D"}}, ["tier"]),
        ({"requires": {"cpus": 3}}, ["cpus"]),
        ({"requires": {"gpus": -1}}, ["gpus"]),
        ({"payload_ref": "http://example.org/x"}, ["payload_ref", "https://"]),
        ({"payload_ref": "file:///etc/passwd"}, ["payload_ref"]),
        ({"payload_ref": "https://user:pass@example.org/"}, ["payload_ref", "password"]),
        ({"payload_ref": "https://[::1"}, ["payload_ref"]),
        ({"payload_ref": "s3://Bucket"}, ["payload_ref"]),
        ({"payload_ref": "sha256:" + 64 * "0"}, ["payload_ref", "no file"]),
        ({"payload_ref": "https://example.org/x", "payload": {"a": 1}}, ["not both"]),
        ({"inputs": {"../x": {"ref": "https://example.org/x"}}}, ["inputs", "file name"]),
        ({"inputs": {"x": {"ref": "https://example.org/x"}}}, ["inputs.x", "sha256", "size_bytes"]),
        ({"inputs": {"x": {"ref": "https://example.org/x", "sha256": "ab", "size_bytes": 1}}}, ["sha256"]),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    worker: Operator, submitter: httpx2.AsyncClient, asked: dict[str, Any], words: list[str]
) -> None:
    """One line says which part is wrong, and nothing is stored."""
    refused(await submitter.post("/jobs", json={"job_type": "render", **asked}), 422, *words)
    assert (await submitter.get("/jobs")).json() == {"jobs": [], "next": None}


async def test_what_a_job_left_can_be_the_next_ones_input(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient
) -> None:
    """A file is named by its digest, by the account that it belongs to and by no other."""
    await submit(submitter)
    async with port_gateway.as_node(worker) as node:
        await node.ready()
        first = await node.accept()
        assert (await upload(port_gateway, worker, first.attempt_id, "a.png")).status_code == 201
        await node.finish(first, outputs=(Output(name="a.png", size_bytes=len(FILE), sha256=DIGEST),))
    asked = {"job_type": "render", "inputs": {"scene": {"ref": f"sha256:{DIGEST}"}}}

    assert (await submitter.post("/jobs", json=asked)).status_code == 201
    wrong = {"job_type": "render", "inputs": {"scene": {"ref": f"sha256:{DIGEST}", "size_bytes": 1}}}
    refused(await submitter.post("/jobs", json=wrong), 422, "inputs.scene")
    async with port_gateway.http(await port_gateway.account("another")) as other:
        refused(await other.post("/jobs", json=asked), 422, "inputs.scene", "no file")


async def test_the_same_key_makes_one_job(worker: Operator, submitter: httpx2.AsyncClient) -> None:
    """The second answer is the first one's job, with 200, and it is paid for once."""
    headers = {"Idempotency-Key": "a1"}
    first = await submitter.post("/jobs", json={"job_type": "render"}, headers=headers)
    again = await submitter.post("/jobs", json={"payload": {}, "job_type": "render"}, headers=headers)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["job_id"] == again.json()["job_id"]
    assert await balance(submitter) == (990, 10)


async def test_a_key_belongs_to_one_request(worker: Operator, submitter: httpx2.AsyncClient) -> None:
    """With another body, or as a batch, it is refused, and the line says what to do."""
    headers = {"Idempotency-Key": "a1"}
    await submitter.post("/jobs", json={"job_type": "render"}, headers=headers)

    refused(await submitter.post("/jobs", json={"job_type": "echo"}, headers=headers), 422, "new key")
    batch = {"jobs": [{"job_type": "render"}]}
    refused(await submitter.post("/jobs/batch", json=batch, headers=headers), 422, "new key")


async def test_a_key_belongs_to_one_account(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient
) -> None:
    """Another account's same key is another key."""
    headers = {"Idempotency-Key": "a1"}
    mine = await submitter.post("/jobs", json={"job_type": "render"}, headers=headers)
    async with port_gateway.http(await port_gateway.account("another")) as other:
        theirs = await other.post("/jobs", json={"job_type": "render"}, headers=headers)

    assert theirs.status_code == 201
    assert theirs.json()["job_id"] != mine.json()["job_id"]


async def test_the_same_key_many_times_at_once_makes_one_job(worker: Operator, submitter: httpx2.AsyncClient) -> None:
    """Whoever comes first makes it."""
    answers: list[httpx2.Response] = []

    async def send() -> None:
        answers.append(
            await submitter.post("/jobs", json={"job_type": "render"}, headers={"Idempotency-Key": "at once"})
        )

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(send)

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["job_id"] for answer in answers}) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_key_is_a_short_line(worker: Operator, submitter: httpx2.AsyncClient, key: str) -> None:
    """1 to 255 printable ASCII characters."""
    answer = await submitter.post("/jobs", json={"job_type": "echo"}, headers={"Idempotency-Key": key})

    refused(answer, 422, "Idempotency-Key")


async def test_a_batch_is_taken_as_a_whole(worker: Operator, submitter: httpx2.AsyncClient) -> None:
    """The jobs come back in their order, each held for; the same key again makes nothing."""
    batch = {"jobs": [{"job_type": "render", "priority": number % 10} for number in range(20)]}
    first = await submitter.post("/jobs/batch", json=batch, headers={"Idempotency-Key": "b"})
    again = await submitter.post("/jobs/batch", json=batch, headers={"Idempotency-Key": "b"})

    assert (first.status_code, again.status_code) == (201, 200)
    assert [job["priority"] for job in first.json()["jobs"]] == [number % 10 for number in range(20)]
    assert [job["job_id"] for job in first.json()["jobs"]] == [job["job_id"] for job in again.json()["jobs"]]
    assert await balance(submitter) == (800, 200)


async def test_a_thousand_jobs_are_a_batch_and_one_more_is_none(
    worker: Operator, submitter: httpx2.AsyncClient
) -> None:
    """The limit is exact."""
    answer = await submitter.post("/jobs/batch", json={"jobs": [{"job_type": "echo"}] * 1000})
    assert answer.status_code == 201
    assert len(answer.json()["jobs"]) == 1000

    refused(await submitter.post("/jobs/batch", json={"jobs": [{"job_type": "echo"}] * 1001}), 422, "jobs")
    refused(await submitter.post("/jobs/batch", json={"jobs": []}), 422, "jobs")


async def test_a_batch_with_faults_says_which_jobs_and_takes_none(
    worker: Operator, submitter: httpx2.AsyncClient
) -> None:
    """Every fault with the number of its job."""
    good, bad = {"job_type": "render"}, {"job_type": "render", "payload_ref": "ftp://x"}
    answer = await submitter.post("/jobs/batch", json={"jobs": [good, bad, good, bad]})

    assert answer.status_code == 422
    assert [one["index"] for one in answer.json()["errors"]] == [1, 3]
    assert answer.json()["detail"].startswith("jobs[1]: payload_ref")
    unknown = await submitter.post("/jobs/batch", json={"jobs": [good, {"job_type": "nothing"}]})
    assert [one["index"] for one in unknown.json()["errors"]] == [1]
    shape = await submitter.post("/jobs/batch", json={"jobs": [good, {"job_type": "render", "priority": 99}]})
    assert shape.status_code == 422
    assert "[1]" in shape.json()["detail"]
    assert (await submitter.get("/jobs")).json() == {"jobs": [], "next": None}


async def test_a_batch_that_costs_too_much_is_not_taken_in_part(
    worker: Operator, submitter: httpx2.AsyncClient
) -> None:
    """Of 1000 credits 101 renders cannot be paid, so none is."""
    refused(await submitter.post("/jobs/batch", json={"jobs": [{"job_type": "render"}] * 101}), 402, "credits")
    assert await balance(submitter) == (1000, 0)


async def test_a_dead_letter_can_be_submitted_again(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient
) -> None:
    """As a new job that names the old one, which stays as it was; twice makes one."""
    old = await dead(port_gateway, worker, submitter)
    first = await submitter.post(f"/jobs/{old['job_id']}/requeue")
    again = await submitter.post(f"/jobs/{old['job_id']}/requeue")

    assert (first.status_code, again.status_code) == (201, 200)
    new = first.json()
    assert (new["requeue_of"], again.json()["job_id"]) == (old["job_id"], new["job_id"])
    now = (await submitter.get(f"/jobs/{old['job_id']}")).json()
    assert (now["status"], now["requeued_as"], now["attempts"]) == ("FAILED", new["job_id"], old["attempts"])
    assert await balance(submitter) == (990, 10)
    async with port_gateway.as_node(worker) as node:
        await node.ready()
        assert (await node.hear(JobDispatch)).job_id == new["job_id"]


async def test_only_a_dead_letter_of_ones_own_can_be_submitted_again(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient
) -> None:
    """An open job cannot, and another account's is not there."""
    job = await submit(submitter)
    refused(await submitter.post(f"/jobs/{job['job_id']}/requeue"), 409, "QUEUED")
    async with port_gateway.http(await port_gateway.account("another")) as other:
        refused(await other.post(f"/jobs/{job['job_id']}/requeue"), 404)


async def test_an_account_cannot_split_the_queue_without_end(worker: Operator, submitter: httpx2.AsyncClient) -> None:
    """64 different requirements may wait at once; more of the same are welcome."""
    batch = {"jobs": [{"job_type": "echo", "requires": {"memory_bytes": 1 + number}} for number in range(64)]}
    assert (await submitter.post("/jobs/batch", json=batch)).status_code == 201

    refused(await submitter.post("/jobs", json={"job_type": "echo", "requires": {"memory_bytes": 99}}), 429, "64")
    assert (await submitter.post("/jobs/batch", json=batch)).status_code == 201

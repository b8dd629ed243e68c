"""SQL, path tricks and odd characters in every text field of REST and of the link, on both databases.

Nothing is quoted into a statement and nothing becomes a path: a text is stored as it is, or refused with one line; it
is never a 500, and never changes what is not its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import trio
import trio_websocket
from scripted import MemoryGateway, PortGateway, on_both_databases, refused, submit
from scripted_node import Closed
from trio.testing import MockClock

from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Heartbeat, HeartbeatAck, JobCancel, JobResultAck

ODD = (
    "'; DROP TABLE jobs; --",
    "' OR '1'='1",
    '" UNION SELECT token_sha256 FROM account_tokens --',
    "1); UPDATE accounts SET balance=9; --",
    "\\'; SELECT pg_sleep(20); --",
    "%(job)s %s {job} :job $1",
    "../../../../etc/passwd",
    "..\\..\\gateway_key.pem",
    "/etc/passwd",
    "\x00",
    "a\x00b",
    "\x1b[2J\r\nX: y",
    "\u202eevil\u2066",
    "\ud800",
    "🦊" * 50,
    "x" * 300,
)

Body = dict[str, Any]
#: One request with the odd text in one place: method, path, and what comes with it.
REQUESTS: dict[str, Callable[[str], tuple[str, str, Body]]] = {
    "job type": lambda odd: ("POST", "/jobs", {"json": {"job_type": odd}}),
    "payload": lambda odd: ("POST", "/jobs", {"json": {"job_type": "echo", "payload": {odd: [odd, {odd: odd}]}}}),
    "payload_ref": lambda odd: ("POST", "/jobs", {"json": {"job_type": "echo", "payload_ref": odd}}),
    "input": lambda odd: (
        "POST",
        "/jobs",
        {"json": {"job_type": "echo", "inputs": {odd: {"ref": "https://x/y", "sha256": "0" * 64, "size_bytes": 1}}}},
    ),
    "input's ref": lambda odd: ("POST", "/jobs", {"json": {"job_type": "echo", "inputs": {"x": {"ref": odd}}}}),
    "input's sha256": lambda odd: (
        "POST",
        "/jobs",
        {"json": {"job_type": "echo", "inputs": {"x": {"ref": "https://x/y", "sha256": odd, "size_bytes": 1}}}},
    ),
    "limits": lambda odd: ("POST", "/jobs", {"json": {"job_type": "echo", "limits": {odd: odd}}}),
    "tier": lambda odd: ("POST", "/jobs", {"json": {"job_type": "echo", "requires": {"tier": odd}}}),
    "batch": lambda odd: ("POST", "/jobs/batch", {"json": {"jobs": [{"job_type": "echo"}, {"job_type": odd}]}}),
    "status": lambda odd: ("GET", f"/jobs?status={_quoted(odd)}", {}),
    "type": lambda odd: ("GET", f"/jobs?job_type={_quoted(odd)}", {}),
    "before": lambda odd: ("GET", f"/jobs?before={_quoted(odd)}", {}),
    "show": lambda odd: ("GET", f"/jobs/{_quoted(odd)}", {}),
    "result": lambda odd: ("GET", f"/jobs/{_quoted(odd)}/result", {}),
    "events": lambda odd: ("GET", f"/jobs/{_quoted(odd)}/events", {}),
    "cancel": lambda odd: ("POST", f"/jobs/{_quoted(odd)}/cancel", {}),
    "requeue": lambda odd: ("POST", f"/jobs/{_quoted(odd)}/requeue", {}),
    "output": lambda odd: ("GET", f"/jobs/{{job}}/outputs/{_quoted(odd)}", {}),
}
#: Headers hold no other characters.
HEADERS = [odd for odd in ODD if odd.isascii() and odd.isprintable()]


@on_both_databases
async def test_no_text_in_a_submitters_request_does_harm(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """In the body, the query, the path and the headers; afterwards all is as it was, and a job goes through."""
    await port_gateway.enlist()
    kept = await submit(submitter)
    stored = 1
    for place, request in REQUESTS.items():
        for odd in ODD:
            method, path, sent = request(odd)
            if "json" in sent:
                content, kind = json.dumps(sent["json"]).encode(), {"Content-Type": "application/json"}
                answer = await submitter.request(method, path, content=content, headers=kind)
            else:
                answer = await submitter.request(method, path.format(job=kept["job_id"]))
            if answer.status_code == 201:
                stored += 1
                assert place in {"payload", "input", "batch"}, (place, odd)
            elif answer.status_code != 200:
                assert answer.status_code in {400, 404, 405, 409, 413, 422}, (place, odd, answer.text)
                refused(answer, answer.status_code)
            else:
                assert place in {"type", "show"}, (place, odd, answer.text)
    for odd in HEADERS:
        answer = await submitter.post("/jobs", json={"job_type": "echo"}, headers={"Idempotency-Key": odd})
        assert answer.status_code == (201 if len(odd) <= 255 else 422), answer.text
        stored += answer.status_code == 201
        async with port_gateway.http(odd) as stranger:
            refused(await stranger.get("/jobs"), 401)
    listed = (await submitter.get("/jobs", params={"limit": 200})).json()
    assert len(listed["jobs"]) == stored
    assert {job["status"] for job in listed["jobs"]} == {"QUEUED"}
    assert (await submitter.get("/account")).json() == {
        "name": "studio",
        "balance_ucr": 990_000_000,
        "held_ucr": 10_000_000,
        "stored_bytes": 0,
        "quota_bytes": 10 << 30,
    }


def _quoted(odd: str) -> str:
    return quote(odd.encode("utf-8", "surrogatepass"), safe="").replace("{", "%7B").replace("}", "%7D")


#: One message of a node with the odd text in each field that takes any text.
MESSAGES: dict[str, Callable[[str, str, str], Body]] = {
    "heartbeat": lambda odd, _, __: {"seq": 1, "load": 0.0, "free_slots": 1, "running": [odd]},
    "job_accept": lambda odd, _, __: {"attempt_id": odd},
    "job_decline": lambda odd, _, __: {"attempt_id": odd, "reason": odd},
    "job_progress": lambda odd, _, attempt: {"attempt_id": attempt, "text": odd, "log": [odd]},
    "job_result": lambda odd, _, __: {"job_id": odd, "attempt_id": odd, "outcome": "completed", "value": odd},
    "drain": lambda odd, _, __: {"reason": odd},
}


@pytest.mark.parametrize("kind", MESSAGES)
async def test_no_text_in_a_nodes_message_does_harm(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, kind: str
) -> None:
    """It is passed over, or ends the node's own link with 1002; the job that runs meanwhile is done and paid once."""
    gateway = memory_gateway
    operator, account = await gateway.enlist(), await gateway.account()
    job_id = await gateway.submit(account)
    async with gateway.as_node(operator) as node:
        await node.ready()
        dispatch = await node.accept()
    for odd in ODD:
        async with gateway.as_node(operator) as node:
            await node.greet(held=(dispatch.attempt_id,))
            message = {"type": kind, **MESSAGES[kind](odd, job_id, dispatch.attempt_id)}
            await node.websocket.send_message(json.dumps(message))
            await node.say(Heartbeat(seq=9, load=0.0, free_slots=0, running=(dispatch.attempt_id,)))
            ended: Closed | None = None
            try:
                while not isinstance(await node.next(), HeartbeatAck | JobCancel | JobResultAck):
                    pass
            except Closed as closed:
                ended = closed
            assert (ended is not None) is (odd == "\ud800")
            assert ended is None or ended.code == CloseCode.PROTOCOL_ERROR
        await trio.sleep(20)  # a node that comes back so often is sent away
    async with gateway.as_node(operator) as node:
        await node.greet(held=(dispatch.attempt_id,))
        assert (await node.finish(dispatch)).credited_ucr == 10_000_000
    job = await gateway.job(account, job_id)
    assert (job.state.value, len(job.attempts)) == ("COMPLETED", 1)


async def test_no_text_in_a_hello_or_a_result_does_harm(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """What a node says of itself and of a job is stored as it is, or its link is closed with 1002."""
    gateway = memory_gateway
    account = await gateway.account()
    for number, odd in enumerate(ODD):
        operator = await gateway.enlist(f"node {number}")
        async with gateway.as_node(operator) as node:
            hello = {
                "type": "hello", "version": odd, "capabilities": ["echo"], "slots": 1, "gpus": [odd],
                "sandbox_tier": odd, "fetches": [odd], "held": [odd],
            }  # fmt: skip
            await node.websocket.send_message(json.dumps(hello))
            frame = await _frame(node.websocket)
            if frame is None:
                continue
            assert json.loads(frame)["drop"] == [odd]
        async with gateway.as_node(operator) as node:
            await node.ready()
            job_id = await gateway.submit(account, "echo")
            dispatch = await node.accept()
            result = {
                "type": "job_result", "job_id": dispatch.job_id, "attempt_id": dispatch.attempt_id,
                "outcome": "completed", "detail": odd, "value": {odd: [odd]}, "result_ref": odd,
                "sandbox": {"tier": odd, "enforced": [odd], "not_enforced": {odd: odd}},
            }  # fmt: skip
            await node.websocket.send_message(json.dumps(result))
            await node.hear(JobResultAck)
        job = await gateway.job(account, job_id)
        assert job.state.value == "COMPLETED"


async def _frame(websocket: trio_websocket.WebSocketConnection) -> str | None:
    """Return the next frame; None where the link was closed with 1002."""
    try:
        return str(await websocket.get_message())
    except trio_websocket.ConnectionClosed:
        assert websocket.closed.code == CloseCode.PROTOCOL_ERROR
        return None

"""Strangers who mean harm: forged tokens, other people's attempts, odd texts, floods and half-open links."""

from __future__ import annotations

import base64
import gc
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
import trio
from scripted import MemoryGateway, NoSocket, PortGateway, in_memory, refused, registration
from trio.testing import MockClock

from edgeagent.gateway.api.throttles import Throttles
from edgeagent.gateway.ceilings import Ceilings
from edgeagent.gateway.limits import MAX_SOURCES
from edgeagent.gateway.store import nodes
from edgeagent.gateway.store.nodes import Applicant
from edgeagent.wire import identity
from edgeagent.wire.identity import InvalidTokenError
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Bye, JobAccept, JobCancel, JobDecline, JobProgress, JobResult, JobResultAck, Outcome


def encoded(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def forgeries(good: str, node_id: str, now: float, signing: bytes) -> dict[str, str]:
    """Return tokens that look like ``good`` and prove nothing; ``signing`` is the gateway's key, misused by itself."""
    header, claims = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
    head, body, signature = good.split(".")
    other = identity.new_private_key()
    public = identity.public_key_of(other)
    return {
        "alg none": f"{encoded({'alg': 'none', 'typ': 'JWT', 'kid': header['kid']})}.{body}.",
        "alg None, old signature": f"{encoded({**header, 'alg': 'None'})}.{body}.{signature}",
        "alg HS256": jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": header["kid"]}),
        "another key": identity.issue_node_token(other, header["kid"], node_id, [], now),
        "another key, its own kid": identity.issue_node_token(other, identity.key_id(public), node_id, [], now),
        "no kid": jwt.encode(claims, other, algorithm="EdDSA"),
        "kid of a path": jwt.encode(claims, other, algorithm="EdDSA", headers={"kid": "../../gateway_key.pem"}),
        "key inside": jwt.encode(claims, other, algorithm="EdDSA", headers={"jwk": identity.jwk(public)}),
        "changed claims": f"{head}.{encoded({**claims, 'sub': str(uuid.uuid4())})}.{signature}",
        "signature cut": good[:-10],
        "expired": identity.issue_node_token(signing, header["kid"], node_id, [], now - identity.TOKEN_LIFE_S),
        "not a node's": jwt.encode({**claims, "token_type": "user"}, signing, algorithm="EdDSA", headers=header),
        "three dots": "..",
        "SQL": "' OR 1=1; --",
    }


async def test_no_forged_token_lets_anybody_in(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Not over REST's guard, not on the link, which is closed with 4001; and none is quoted."""
    operator = await memory_gateway.enlist()
    signing = memory_gateway.hub.tokens._keyring.signing
    for kind, forged in forgeries(operator.token, operator.node_id, memory_gateway.wall(), signing).items():
        with pytest.raises(InvalidTokenError) as raised:
            memory_gateway.hub.members.authenticate(forged)
        assert len(forged) < 9 or forged not in str(raised.value), kind
        async with memory_gateway.connect(operator.node_id, forged) as node:
            assert (await node.closed()).code == CloseCode.AUTHENTICATION_FAILED, kind


async def test_anothers_attempt_is_nobodys_to_touch(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Accept, decline, progress, result, a claim to hold it: the job stays with its node, and pays it."""
    gateway = memory_gateway
    mine, thief = await gateway.enlist("mine"), await gateway.enlist("thief")
    account = await gateway.account()
    async with gateway.as_node(mine) as node, gateway.as_node(thief) as other:
        await node.ready()
        job_id = await gateway.submit(account)
        dispatch = await node.accept()
        attempt = dispatch.attempt_id
        assert (await other.greet(held=(attempt,))).drop == (attempt,)
        await other.beat()
        await other.say(JobAccept(attempt_id=attempt))
        await other.hear(JobCancel)
        await other.say(JobDecline(attempt_id=attempt, reason="mine now"))
        await other.say(JobProgress(attempt_id=attempt, fraction=1.0, text="stolen"))
        stolen = JobResult(job_id=job_id, attempt_id=attempt, outcome=Outcome.COMPLETED, value="stolen")
        await other.say(stolen)
        assert (await other.hear(JobResultAck)).credited_ucr == 0
        job = await gateway.job(account, job_id)
        assert (job.state.value, job.attempts[0].node_id) == ("RUNNING", mine.node_id)
        assert gateway.hub.network.progress == {}
        assert (await node.finish(dispatch, value="honest")).credited_ucr
        for never in (str(uuid.uuid4()), "' OR 1=1; --", "\x00", "x" * 10_000):
            await other.say(JobResult(job_id=never, attempt_id=never, outcome=Outcome.COMPLETED))
            assert (await other.hear(JobResultAck)).credited_ucr == 0
    assert (await gateway.hub.store.read(nodes.profile, thief.node_id)).balance_ucr == 0


ODD = (
    "'; DROP TABLE nodes; --",
    '" OR ""="',
    "%s%s%n",
    "\x00",
    "\x1b[2J",
    "\u202eevil",
    "\ud800",
    "\U000e0001",
    "🦊" * 50,
)


def odd_request(field: str, odd: str, number: int) -> tuple[str, dict[str, Any]]:
    """Return where to send what, with the odd text in that field."""
    body = registration(f"node {number}")
    changes: dict[str, dict[str, Any]] = {
        "name": {"name": odd},
        "capability": {"capabilities": [odd]},
        "metadata": {"metadata": {odd: [odd]}},
        "replaces": {"replaces": {"node_id": odd, "signature": odd}},
        "join_token": {"join_token": odd},
        "challenge": {"challenge": odd, "signature": odd},
    }
    if field == "node_id":
        return "/nodes/rotate-key", {"node_id": odd, "public_key": body["public_key"], "signature": odd}
    return "/nodes/register", {**body, **changes[field]}


@pytest.mark.parametrize("field", ["name", "capability", "metadata", "replaces", "join_token", "challenge", "node_id"])
async def test_odd_texts_in_a_registration_are_stored_or_refused(
    port_gateway: PortGateway, anyone: httpx2.AsyncClient, field: str
) -> None:
    """SQL, control characters, half characters: a 4xx with one line, or stored as they are; never a 500."""
    for number, odd in enumerate(ODD):
        path, body = odd_request(field, odd, number)
        answer = await anyone.post(path, content=json.dumps(body).encode())
        assert answer.status_code in {200, 201, 403, 409, 422}, (odd, answer.text)
        if answer.status_code < 300:
            async with port_gateway.http(answer.json()["token"]) as http:
                profile = (await http.get("/nodes/me")).json()
            if field in {"name", "capability"}:
                assert odd in {profile["name"], *profile["capabilities"]}
                assert odd.isprintable()
        else:
            refused(answer, answer.status_code)
    assert (await anyone.post("/nodes/register", json=registration("after all"))).status_code == 201


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "a body is needed"),
        (b"{", "not JSON"),
        (b'{"name": "\xff"}', "not UTF-8"),
        (b'{"name": "\\ud800"}', "not JSON"),
        (json.dumps({"name": "x"}).encode("utf-16"), "not JSON"),
        (b'{"metadata": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "nested too deeply"),
        (b'{"metadata": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001, "nested too deeply"),
        (b'{"metadata": NaN}', "not JSON"),
        (b"[]", "Expected `object`"),
    ],
)
async def test_a_body_that_cannot_be_read_is_its_senders_fault(
    anyone: httpx2.AsyncClient, body: bytes, word: str
) -> None:
    """Strangers need no token for this: a 500 of each, with its traceback in the log, would fill the disk."""
    refused(await anyone.post("/nodes/register", content=body), 422, word)


async def test_a_flood_of_registrations_is_told_when_to_come_back(port_gateway: PortGateway) -> None:
    """From one address: 429 with Retry-After; nodes that are known still prove their keys."""
    operator = await port_gateway.enlist()
    async with port_gateway.http() as http:
        answers = [await http.post("/nodes/register", content=b"{}") for _ in range(40)]
        late = answers[-1]
        refused(late, 429, "too many")
        assert 1 <= int(late.headers["retry-after"]) <= 60
        assert sum(answer.status_code == 422 for answer in answers) < 30
        key = identity.public_key_of(operator.private_key)
        assert (await http.post("/nodes/challenge", json={"public_key": key})).status_code == 201


def test_ten_thousand_registrations_a_minute_let_few_in_and_keep_little() -> None:
    """From as many addresses: all together get what all together may, in bounded memory."""
    limiter = Throttles(Ceilings()).joining

    let_in = sum(limiter.wait_s(f"10.{n >> 8}.{n & 255}.1", n * 60 / 10_000) == 0 for n in range(10_000))

    assert let_in == pytest.approx(800, abs=1)  # 200 at once, and 600 in the minute
    assert len(limiter) <= MAX_SOURCES


async def test_registrations_beyond_the_name_are_cheap_to_refuse(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """A key or a name that is taken leaves nothing behind."""
    key = identity.public_key_of(identity.new_private_key())
    await memory_gateway.hub.members.register(Applicant("n", key, ("echo",), {}))
    for _ in range(50):
        with pytest.raises(nodes.TakenError):
            await memory_gateway.hub.members.register(Applicant("n", key, ("echo",), {}))
    assert len(await memory_gateway.hub.store.read(nodes.all_health)) == 1


def resident_bytes() -> int:
    """Return what this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


HALF = (
    b"",
    b"GET /api/v1/relay/ws/x HTTP/1.1\r\nHost: x\r\n",
    b"GET /api/v1/relay/ws/x HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 8000,
    b"POST /api/v1/nodes/register HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
)


async def test_a_thousand_half_open_links_cost_themselves(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Each is closed by a deadline, memory stays small meanwhile, and the next node is served at once."""
    async with in_memory(tmp_path) as gateway:
        operator = await gateway.enlist()
        shake = (
            f"GET /api/v1/relay/ws/{operator.node_id} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: edge-relay.v1\r\nAuthorization: Bearer {operator.token}\r\n\r\n"
        ).encode()
        before = resident_bytes()
        closed = 0

        async def hang(start: bytes) -> None:
            nonlocal closed
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(gateway.server.serve, theirs, NoSocket())
            await ours.send_all(start)
            async for _ in ours:
                pass
            closed += 1

        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(hang, (*HALF, shake)[number % 5])
            await trio.sleep(1)
            assert closed < 1000
            gc.collect()
            assert resident_bytes() - before < 1000 * 150_000
            started, real = trio.current_time(), time.monotonic()
            async with gateway.as_node(operator) as node:
                await node.ready()
                await node.say(Bye(reason="done"))
                await node.closed()
            assert trio.current_time() - started < 1
            assert time.monotonic() - real < 30
        assert closed == 1000
        assert trio.current_time() < 60

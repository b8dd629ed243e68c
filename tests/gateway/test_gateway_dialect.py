"""Nodes that speak the other dialect: on a virtual clock, and one over real sockets from registration to credit."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import uuid
from pathlib import Path

import attrs
import httpx2
import pytest
import trio
from edgekit import Edgekit, linked
from scripted import MemoryGateway, PortGateway, in_memory, raw, submit
from trio.testing import MockClock

from edgeagent.gateway import ownership
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.dialect import GRACE_S, Interpreter, Late, Unfinished
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.store.orders import Kind
from edgeagent.wire import identity
from edgeagent.wire.codec import MAX_FRAME_BYTES
from edgeagent.wire.dialect import SILENT_S
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import JobAccept, JobDispatch, JobProgress, Limits, NodeState, Outcome


async def test_an_unchanged_node_registers_works_and_is_credited(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient, anyone: httpx2.AsyncClient
) -> None:
    """Over real sockets: challenge and token, HEALTHY by connecting, echo and cpu_benchmark with their payloads."""
    public_key = identity.public_key_of(identity.new_private_key())
    body = {"name": "kit", "public_key": public_key, "capabilities": ["echo", "cpu_benchmark"], "metadata": {}}
    answer = (await anyone.post("/nodes/register", json=body)).raise_for_status().json()
    assert (len(answer["challenge"]), answer["status"]) == (64, "REGISTERED")
    assert identity.read_node_token(answer["token"]).node_id == answer["node_id"]
    path = f"?token={answer['token']}"
    async with (
        port_gateway.connect(answer["node_id"], "", subprotocols=(), query=path) as link,
        port_gateway.http(answer["token"]) as http,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(Edgekit(link.websocket).run)
        while (await http.get("/nodes/me")).json()["status"] != "HEALTHY":  # noqa: ASYNC110
            await trio.sleep(0.05)
        jobs = [await submit(submitter, "echo", payload={"text": "hi", "deep": {"a": [1]}})]
        jobs.append(await submit(submitter, "cpu_benchmark", payload={"limit": 100}))
        while (await http.get("/nodes/me")).json()["jobs_completed"] < 2:  # noqa: ASYNC110
            await trio.sleep(0.05)
        results = [(await submitter.get(f"/jobs/{job['job_id']}/result")).json()["value"] for job in jobs]
        assert results == [{"text": "hi", "deep": {"a": [1]}, "payload_ref": ""}, {"primes": 25}]
        profile = (await http.get("/nodes/me")).json()
        assert (profile["balance_ucr"], profile["jobs_completed"]) == (1_000_000, 2)
        nursery.cancel_scope.cancel()


async def completed(gateway: MemoryGateway, account: str, job_id: str) -> None:
    """Wait for the end of a job; on a virtual clock nothing else would end that."""
    with trio.fail_after(60):
        while (await gateway.job(account, job_id)).state is not JobState.COMPLETED:  # noqa: ASYNC110 -- nobody tells that it is stored
            await trio.sleep(0.1)


async def test_compression_is_refused(port_gateway: PortGateway) -> None:
    """It would cost about 100 KiB for each link; the handshake is accepted without."""
    operator = await port_gateway.enlist()
    answer = await raw(
        port_gateway,
        f"GET /api/v1/relay/ws/{operator.node_id}?token=x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
        errors="replace",
    )
    assert answer.startswith("HTTP/1.1 101")
    assert "extensions" not in answer.lower()


async def test_pings_come_every_30_s_and_silence_ends_after_90(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """With 4002; a node that pongs stays."""
    operator = await memory_gateway.enlist()
    async with linked(memory_gateway, operator) as kit:
        for _ in range(10):
            await kit.hear()
            await kit.say("heartbeat_pong", payload={})
        assert trio.current_time() == pytest.approx(270, abs=1)
        assert memory_gateway.state(operator) is NodeState.HEALTHY
        assert (await kit.closed()).code == CloseCode.HEARTBEAT_TIMEOUT
        assert trio.current_time() == pytest.approx(360, abs=1)


async def test_a_node_gets_one_job_at_a_time(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """The next one when it has said how the first ended."""
    gateway = memory_gateway
    operator, account = await gateway.enlist(), await gateway.account()
    async with linked(gateway, operator) as kit:
        jobs = [await gateway.submit(account) for _ in range(2)]
        first = await kit.accept()
        with trio.move_on_after(25):
            await kit.assigned()
            pytest.fail("a second job came")
        await kit.complete(first, {"n": 1})
        second = await kit.accept()
        await kit.say("status_update", job_id=second["job_id"], status="failed", detail="no luck")
        third = await kit.assigned()
    assert [first["job_id"], second["job_id"]] == jobs
    assert third["job_id"] == second["job_id"]  # again, because nobody else is there
    done, failed = [await gateway.job(account, job_id) for job_id in jobs]
    assert (done.state, done.attempts[0].outcome) == (JobState.COMPLETED, Outcome.COMPLETED)
    assert (failed.attempts[0].outcome, failed.attempts[0].detail) == (Outcome.FAILED, "no luck")


async def test_a_long_job_keeps_its_lease_although_no_ping_is_answered(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """For as long as it may take; the open link stands for the heartbeats."""
    gateway = memory_gateway
    operator, account = await gateway.enlist(), await gateway.account()
    async with linked(gateway, operator) as kit:
        job_id = await gateway.submit(account)
        message = await kit.accept()
        await trio.sleep(Limits().wall_s)
        assert gateway.state(operator) is NodeState.HEALTHY
        assert (await gateway.job(account, job_id)).state is JobState.RUNNING
        await kit.complete(message)
        await kit.hear()
        await completed(gateway, account, job_id)
    assert len((await gateway.job(account, job_id)).attempts) == 1


async def test_a_job_that_takes_too_long_costs_the_link(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """There is no way to tell the node to stop."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with linked(memory_gateway, operator) as kit:
        await memory_gateway.submit(account)
        await kit.accept()
        started = trio.current_time()
        assert (await kit.closed()).code == CloseCode.HEARTBEAT_TIMEOUT
        assert trio.current_time() - started == pytest.approx(Limits().wall_s + GRACE_S, abs=2)


async def test_a_lost_links_job_goes_elsewhere_after_the_silence(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Not before its lease has ended, and never to the same node while it may still work on it."""
    gateway = memory_gateway
    operator, account = await gateway.enlist("kit"), await gateway.account()
    async with linked(gateway, operator) as kit:
        job_id = await gateway.submit(account)
        await kit.accept()
        await kit.websocket.aclose()
    lost_at = trio.current_time()
    async with linked(gateway, operator) as kit, trio.open_nursery() as nursery:
        nursery.start_soon(_refuse_jobs, kit)
        with trio.fail_after(600):
            while (await gateway.job(account, job_id)).attempts[0].state != "LOST":  # noqa: ASYNC110 -- nobody tells of a lease that has ended
                await trio.sleep(1)
        assert trio.current_time() - lost_at == pytest.approx(60, abs=3)
        await trio.sleep(30)
        other = await gateway.enlist("other")
        async with gateway.as_node(other) as node:
            await node.ready()
            nursery.start_soon(node.beat_for_ever)
            dispatch = await node.accept()
            assert dispatch.job_id == job_id
        nursery.cancel_scope.cancel()


async def _refuse_jobs(kit: Edgekit) -> None:
    await kit.assigned()
    pytest.fail("the node got the job again that it may still work on")


async def test_a_late_last_word_counts_while_the_job_is_open(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Over a new link: the store knows which attempt it was."""
    gateway = memory_gateway
    operator, account = await gateway.enlist("kit"), await gateway.account()
    async with linked(gateway, operator) as kit:
        job_id = await gateway.submit(account)
        message = await kit.accept()
        await kit.websocket.aclose()
    await trio.sleep(90)
    assert (await gateway.job(account, job_id)).state is JobState.QUEUED
    async with linked(gateway, operator) as kit:
        await kit.complete(message, "late")
        await completed(gateway, account, job_id)
    assert (await gateway.job(account, job_id)).credited_ucr


async def test_what_is_said_of_strangers_jobs_changes_nothing(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Another node's job, one that is not there, and messages of unknown types."""
    gateway = memory_gateway
    mine, thief = await gateway.enlist("mine"), await gateway.enlist("thief")
    account = await gateway.account()
    async with linked(gateway, mine) as kit:
        job_id = await gateway.submit(account)
        await kit.accept()
        async with linked(gateway, thief) as other:
            for one in (job_id, str(uuid.uuid4()), "x'; DROP TABLE jobs; --", "\x00"):
                await other.say("job_ack", job_id=one, accepted=True)
                await other.say("status_update", job_id=one, status="completed", detail="stolen")
            await other.say("something_else", payload=1)
            await trio.sleep(1)
            assert (await gateway.job(account, job_id)).state is JobState.RUNNING
            assert (await other.hear())["type"] == "heartbeat_ping"


@pytest.mark.parametrize("frame", ["{", "[]", "3", '{"type": "job_ack"}', '{"type": "status_update", "job_id": 3}'])
async def test_what_is_no_frame_ends_the_link(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, frame: str
) -> None:
    """With 1002."""
    operator = await memory_gateway.enlist()
    async with linked(memory_gateway, operator) as kit:
        await kit.websocket.send_message(frame)
        assert (await kit.closed()).code == CloseCode.PROTOCOL_ERROR


async def test_a_job_without_words_in_this_dialect_is_not_sent(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """A payload with a key of the message's own waits for a node that can be told."""
    gateway = memory_gateway
    operator, account = await gateway.enlist("kit"), await gateway.account()
    async with linked(gateway, operator) as kit, trio.open_nursery() as nursery:
        nursery.start_soon(_refuse_jobs, kit)
        job_id = await gateway.submit(account, payload={"type": "circle"})
        await trio.sleep(30)
        job = await gateway.job(account, job_id)
        assert job.attempts[0].state == "DECLINED"
        assert "'type'" in job.attempts[0].detail
        nursery.cancel_scope.cancel()


async def test_a_frame_may_have_a_mebibyte(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """A result that is too large to keep fails its attempt, not the link."""
    gateway = memory_gateway
    operator, account = await gateway.enlist("kit"), await gateway.account()
    async with linked(gateway, operator) as kit:
        job_id = await gateway.submit(account)
        message = await kit.accept()
        await kit.complete(message, "x" * (MAX_FRAME_BYTES - 200))
        await kit.assigned()
    assert "over 256 KiB" in (await gateway.job(account, job_id)).attempts[0].detail


async def test_a_restarted_gateway_waits_for_what_may_still_run(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The node gets nothing else until the lease of its old job has ended, and its last word counts."""
    async with in_memory(tmp_path) as gateway:
        operator, account = await gateway.enlist("kit"), await gateway.account()
        async with linked(gateway, operator) as kit:
            job_id = await gateway.submit(account)
            message = await kit.accept()
            await trio.sleep(1)
    async with in_memory(tmp_path) as gateway, linked(gateway, operator) as kit:
        await gateway.submit(account)
        with trio.move_on_after(20):
            await kit.assigned()
            pytest.fail("a job came while the old one may still run")
        await kit.complete(message, "done")
        await completed(gateway, account, job_id)
        await kit.assigned()


async def test_a_restarted_gateway_gives_nobody_the_job_again_that_may_still_run_there(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its lease has ended, and it waits for another node, or for as long as any job may take."""
    async with in_memory(tmp_path) as gateway:
        operator, account = await gateway.enlist("kit"), await gateway.account()
        async with linked(gateway, operator) as kit:
            job_id = await gateway.submit(account)
            await kit.accept()
            await trio.sleep(1)
    async with in_memory(tmp_path) as gateway, linked(gateway, operator) as kit, trio.open_nursery() as nursery:
        nursery.start_soon(_refuse_jobs, kit)
        await trio.sleep(120)
        assert (await gateway.job(account, job_id)).attempts[0].state == "LOST"
        nursery.cancel_scope.cancel()


async def test_a_link_ends_with_its_token(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """A day after it was issued, with 4001 and what to do; the wall clock, set meanwhile, has no say."""
    operator = await memory_gateway.enlist()
    memory_gateway.wall.ahead_s += identity.TOKEN_LIFE_S - 45
    async with linked(memory_gateway, operator) as kit:
        opened = trio.current_time()
        memory_gateway.wall.ahead_s += 10 * identity.TOKEN_LIFE_S
        closed = await kit.closed()
    assert closed.code == CloseCode.AUTHENTICATION_FAILED
    assert "has expired; get a fresh one" in closed.reason
    assert 45 <= trio.current_time() - opened < SILENT_S


async def test_a_job_outlives_its_nodes_token_and_no_other_follows(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """What runs when the token expires is finished and paid; what waits goes to another node without a retry."""
    gateway = memory_gateway
    operator, account = await gateway.enlist("kit"), await gateway.account()
    gateway.wall.ahead_s += identity.TOKEN_LIFE_S - 100
    async with linked(gateway, operator) as kit:
        first = await gateway.submit(account)
        message = await kit.accept()
        second = await gateway.submit(account)
        await trio.sleep(200)
        await kit.complete(message)
        assert (await kit.closed()).code == CloseCode.AUTHENTICATION_FAILED
        await completed(gateway, account, first)
    other = await gateway.enlist("other")
    async with gateway.at_work(other) as node:
        await node.finish(await node.accept())
    assert [one.state for one in (await gateway.job(account, second)).attempts] == ["DECLINED", "COMPLETED"]


async def test_the_operator_gets_a_fresh_token_as_the_docs_say(port_gateway: PortGateway, tmp_path: Path) -> None:
    """Their script, run on the files that edgekit leaves, after the first token was made void."""
    operator = await port_gateway.enlist("kit")
    config = {"node_id": operator.node_id, "gateway_url": port_gateway.url, "jwt_token": operator.token}
    home = tmp_path / "edgekit"
    home.mkdir()
    (home / "config.json").write_text(json.dumps(config))
    (home / "node_key").write_bytes(operator.private_key)
    (home / "node_key.pub").write_text(operator.public_key)
    place = GatewaySettings(data_dir=port_gateway.data_dir)
    await trio.to_thread.run_sync(ownership.order, place, Kind.VOID_TOKENS, operator.node_id)
    page = Path(__file__).parents[2] / "docs" / "link.md"
    (script,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)

    await trio.run_process([sys.executable, "-c", script], env={**os.environ, "EDGEKIT_HOME": str(home)})

    fresh = json.loads((home / "config.json").read_text())
    assert {**fresh, "jwt_token": ""} == {**config, "jwt_token": ""}
    async with linked(port_gateway, attrs.evolve(operator, token=fresh["jwt_token"])) as kit:
        assert (await kit.hear())["type"] == "heartbeat_ping"


def test_a_link_may_be_silent_while_a_job_runs() -> None:
    """For 90 s, or as long as the job may take and a minute more."""
    interpreter = Interpreter(0.0)
    assert interpreter.silent_at() == SILENT_S
    dispatch = JobDispatch(job_id="j", attempt_id="a", job_type="echo", limits=Limits(wall_s=500.0))

    interpreter.assign(dispatch, 10.0, "")

    assert interpreter.silent_at() == 10 + 500 + GRACE_S
    interpreter.receive('{"type": "status_update", "job_id": "j", "status": "failed"}', 20.0)
    assert interpreter.silent_at() == 20 + SILENT_S
    (late,) = interpreter.receive('{"type": "status_update", "job_id": "j", "status": "COMPLETED"}', 20.0)
    assert isinstance(late, Late)


def test_a_job_is_accepted_once_however_often_the_node_says_that_it_runs() -> None:
    """Each acceptance would be written down."""
    interpreter = Interpreter(0.0)
    interpreter.assign(JobDispatch(job_id="j", attempt_id="a", job_type="echo"), 0.0, "")

    (first,) = interpreter.receive('{"type": "job_ack", "job_id": "j", "accepted": true}', 1.0)
    (second,) = interpreter.receive('{"type": "status_update", "job_id": "j", "status": "running"}', 2.0)

    assert isinstance(first, JobAccept)
    assert isinstance(second, JobProgress)


def test_a_job_may_come_again_when_the_node_cannot_be_working_on_it_any_more() -> None:
    """It has said how it ended, or all the time that it may take is over."""
    unfinished = Unfinished()
    unfinished.begin("n", "a", until=10.0)
    unfinished.begin("n", "b", until=10.0)
    unfinished.end("n", "b")

    assert [unfinished.has("n", job, 9.9) for job in "ab"] == [True, False]
    assert not unfinished.has("n", "a", 10.0)

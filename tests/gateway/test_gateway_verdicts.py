"""A node without a link when its held result is decided asks for it later, and gets what it would have heard."""

from __future__ import annotations

import httpx2
import pytest
import trio
from scripted import MemoryGateway, PortGateway, on_both_databases, refused
from test_gateway_receipts import countersigned, settlement, signed
from trio.testing import MockClock

from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.store import policies
from edgeagent.gateway.trust import Policy
from edgeagent.gateway.trusting import set_policy
from edgeagent.node.api import Api
from edgeagent.wire.messages import JobResultAck, JobVerdict
from edgeagent.wire.urls import GatewayUrl

PRICE = 10_000_000
ALWAYS = Policy(sure_after=1_000_000)


async def test_a_verdict_can_be_had_later(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """With a settlement that is the gateway's for the node's own receipt; nobody else gets it, and not before."""
    hub = memory_gateway.hub
    await hub.store.write(policies.change, "render", ALWAYS, "owner")
    one, two = await memory_gateway.enlist("one"), await memory_gateway.enlist("two")
    await memory_gateway.submit(await memory_gateway.account())
    async with memory_gateway.as_node(one) as node:
        await node.ready()
        dispatch = await node.accept()
        result = signed(one, dispatch)
        await node.say(result)
        assert (await node.hear(JobResultAck)).held
    before = await hub.verdicts(one.node_id, [dispatch.attempt_id])
    async with memory_gateway.as_node(two) as node:
        await node.ready()
        await node.finish(await node.accept(), value=1)

    (verdict,) = await hub.verdicts(one.node_id, [dispatch.attempt_id, "of nobody"])

    assert before == []
    assert await hub.verdicts(two.node_id, [dispatch.attempt_id]) == []
    assert (verdict.attempt_id, verdict.credited_ucr) == (dispatch.attempt_id, PRICE)
    ack = JobResultAck(attempt_id=dispatch.attempt_id, credited_ucr=PRICE, settled=verdict.settled)
    assert countersigned(memory_gateway, settlement(one, dispatch, result, ack), ack)
    assert await hub.verdicts(one.node_id, [dispatch.attempt_id]) == [verdict]


@pytest.mark.parametrize(("value", "reason"), [("a lie", "two others agreed"), ("true", "cancelled the job")])
async def test_an_unpaid_verdict_says_why(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, value: str, reason: str
) -> None:
    """Of a result that two others contradict, and of one whose job was cancelled while it waited."""
    hub = memory_gateway.hub
    await hub.store.write(policies.change, "render", ALWAYS, "owner")
    operators = [await memory_gateway.enlist(name) for name in ("first", "second", "third")]
    job = await memory_gateway.submit(await memory_gateway.account())
    async with memory_gateway.as_node(operators[0]) as node:
        await node.ready()
        held = await node.accept()
        await node.finish(held, value=value)
    if value == "true":
        await hub.cancel(job)
    else:
        for operator in operators[1:]:
            async with memory_gateway.as_node(operator) as node:
                await node.ready()
                await node.finish(await node.accept(), value="true")

    (verdict,) = await hub.verdicts(operators[0].node_id, [held.attempt_id])

    assert (verdict.credited_ucr, verdict.settled) == (0, None)
    assert reason in verdict.reason


@on_both_databases
async def test_a_node_asks_by_rest(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """With its own call, and in bounded portions; what comes is what it hears on a link."""
    place = GatewaySettings(data_dir=port_gateway.data_dir, postgres=port_gateway.postgres)
    await trio.to_thread.run_sync(set_policy, place, "render", ALWAYS)
    one, two = await port_gateway.enlist("one"), await port_gateway.enlist("two")
    (await submitter.post("/jobs", json={"job_type": "render", "payload": {}})).raise_for_status()
    async with port_gateway.at_work(one) as first:
        dispatch = await first.accept()
        await first.say(signed(one, dispatch))
        assert (await first.hear(JobResultAck)).held
        async with port_gateway.at_work(two) as second:
            await second.finish(await second.accept(), value=1)
        heard = await first.hear(JobVerdict)

    async with Api(GatewayUrl.parse(port_gateway.url)) as api:
        assert await api.verdicts(one.token, [dispatch.attempt_id]) == [heard]
        assert await api.verdicts(two.token, [dispatch.attempt_id]) == []
    async with port_gateway.http(one.token) as http:
        refused(await http.get("/nodes/me/verdicts"), 422, "attempt")
        refused(await http.get("/nodes/me/verdicts", params={"attempt": ["x"] * 101}), 422, "attempt")
        refused(await http.get("/nodes/me/verdicts", params={"attempt": "x" * 101}), 422, "attempt")
    async with port_gateway.http() as http:
        refused(await http.get("/nodes/me/verdicts", params={"attempt": "x"}), 401)

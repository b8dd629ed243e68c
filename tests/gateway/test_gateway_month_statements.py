"""What the gateway publishes about months: signed statements, proofs that hold, and what a node's owner must know."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import trio
from scripted import MemoryGateway, PortGateway, on_both_databases, refused
from scripted_node import Operator
from test_gateway_receipts import settlement, signed
from trio.testing import MockClock

from edgeagent.gateway import bookkeeping
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.store import settlements
from edgeagent.wire import identity, merkle, receipts
from edgeagent.wire.messages import JobResultAck

LEAF = "00" * 32


async def work(gateway: PortGateway, submitter: httpx2.AsyncClient, count: int) -> tuple[Operator, list[bytes]]:
    """Have a new node do so many jobs; return it, and the leaf of each settlement."""
    operator, leaves = await gateway.enlist(), []
    async with gateway.at_work(operator) as node:
        for _ in range(count):
            (await submitter.post("/jobs", json={"job_type": "render", "payload": {}})).raise_for_status()
            dispatch = await node.accept()
            result = signed(operator, dispatch)
            await node.say(result)
            leaves.append(settlement(operator, dispatch, result, await node.hear(JobResultAck)).leaf)
    return operator, leaves


@on_both_databases
async def test_a_statement_is_signed_and_its_proofs_hold(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient, anyone: httpx2.AsyncClient
) -> None:
    """Everybody can check, from what is published alone, that each receipt is in the month and stays there."""
    _, leaves = await work(port_gateway, submitter, 3)
    (keys,) = (await anyone.get(f"{port_gateway.url}/.well-known/jwks.json")).json().values()
    (shown,) = (await anyone.get("/statements")).json()["statements"]
    month = shown["month"]
    statement = receipts.Statement(
        **{name: shown[name] for name in ("month", "size", "root", "credited_ucr", "issued_at", "closed")}
    )
    wanted = {"leaf": [one.hex() for one in [leaves[2], b"\0" * 32, *leaves]], "size": 3}
    found = (await anyone.get(f"/statements/{month}/inclusion", params=wanted)).json()["inclusions"]
    proofs = {one["leaf"]: one for one in found}
    earlier_proofs = (await anyone.get(f"/statements/{month}/inclusion", params={**wanted, "size": 2})).json()
    between = (await anyone.get(f"/statements/{month}/consistency", params={"first": 2, "second": 3})).json()["proof"]

    assert identity.verify(identity.from_jwk(keys[0]), statement.document(), shown["signature"])
    assert shown["key_id"] == keys[0]["kid"]
    assert (statement.size, statement.credited_ucr, statement.closed) == (3, 30_000_000, False)
    root = bytes.fromhex(statement.root)
    assert {one.hex() for one in leaves} == proofs.keys()
    for index, leaf in enumerate(leaves):
        one = proofs[leaf.hex()]
        assert merkle.includes(leaf, one["index"], 3, [bytes.fromhex(each) for each in one["proof"]], root)
        assert index == one["index"]
    assert {one.hex() for one in leaves[:2]} == {one["leaf"] for one in earlier_proofs["inclusions"]}
    earlier = merkle.root(merkle.over(leaves[:2]), 2)
    assert merkle.follows(2, earlier, 3, root, [bytes.fromhex(one) for one in between])


@on_both_databases
async def test_a_node_sees_what_was_corrected(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """A refund that it pays and an adjustment, each with its reason; no settlement, and nothing of other nodes."""
    operator, _ = await work(port_gateway, submitter, 2)
    other = await port_gateway.enlist("other")
    job_id = (await submitter.get("/jobs")).json()["jobs"][0]["job_id"]
    place = GatewaySettings(data_dir=port_gateway.data_dir, postgres=port_gateway.postgres)

    def correct() -> None:
        assert bookkeeping.refund(place, job_id, "it was black", from_node=True)
        assert bookkeeping.adjust(place, f"node:{operator.node_id}", 2_000_000, "ticket 7", "for the lost day")

    await trio.to_thread.run_sync(correct)
    async with port_gateway.http(operator.token) as http:
        mine = (await http.get("/nodes/me/corrections")).json()
        earlier = (await http.get("/nodes/me/corrections", params={"month": "2001-01"})).json()
        refused(await http.get("/nodes/me/corrections", params={"month": "2026-13"}), 422, "month")
    async with port_gateway.http(other.token) as http:
        none = (await http.get("/nodes/me/corrections")).json()

    assert [(one["kind"], one["reference"], one["amount_ucr"], one["memo"]) for one in mine["corrections"]] == [
        ("refund", job_id, -10_000_000, "it was black"),
        ("adjustment", "ticket 7", 2_000_000, "for the lost day"),
    ]
    assert earlier == {"month": "2001-01", "corrections": []}
    assert none["corrections"] == []


async def test_what_is_not_there_is_said(port_gateway: PortGateway, anyone: httpx2.AsyncClient) -> None:
    """No statement of a month without settlements, no proof beyond a tree."""
    assert (await anyone.get("/statements")).json() == {"statements": []}
    refused(await anyone.get("/statements/2026-10"), 404, "nothing was settled")
    refused(await anyone.get("/statements/october"), 404, "nothing was settled")
    refused(await anyone.get("/statements/2026-10/inclusion", params={"leaf": LEAF, "size": 1}), 422, "0 leaves, not 1")
    refused(await anyone.get("/statements/2026-10/consistency", params={"first": 1, "second": 2}), 422, "0 leaves")


@pytest.mark.parametrize(
    ("path", "params", "said"),
    [
        ("inclusion", {"leaf": LEAF, "size": 2}, "1 leaves, not 2"),
        ("inclusion", {"leaf": [LEAF] * 51, "size": 1}, "leaf"),
        ("inclusion", {"leaf": "0", "size": 1}, "leaf"),
        ("inclusion", {"size": 1}, "leaf"),
        ("consistency", {"first": 2, "second": 1}, "does not follow"),
    ],
)
async def test_a_proof_that_cannot_be_is_refused(
    port_gateway: PortGateway,
    submitter: httpx2.AsyncClient,
    anyone: httpx2.AsyncClient,
    path: str,
    params: dict[str, Any],
    said: str,
) -> None:
    """With a line that says why."""
    await work(port_gateway, submitter, 1)
    month = (await anyone.get("/statements")).json()["statements"][0]["month"]

    refused(await anyone.get(f"/statements/{month}/{path}", params=params), 422, said)


async def test_months_are_closed_when_they_are_over(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """By the gateway itself, at its next look; what comes later goes into the next month."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        await memory_gateway.submit(account)
        await node.finish(await node.accept())
        after = receipts.month_bounds("2001-09")[1]
        memory_gateway.wall.ahead_s += after - memory_gateway.wall()
        await node.beat_after(15.0)
        await memory_gateway.submit(account)
        await node.finish(await node.accept())

    found = await memory_gateway.hub.store.read(settlements.all_months)
    assert [(one.month, one.leaves, one.closed_at is not None) for one in found] == [
        ("2001-09", 1, True),
        ("2001-10", 1, False),
    ]
    assert found[0].closed_at is not None
    assert after <= found[0].closed_at < after + 15

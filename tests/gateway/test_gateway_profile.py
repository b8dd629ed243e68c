"""An operator decides how the node appears to everybody."""

from __future__ import annotations

import pytest
from scripted import MemoryGateway, PortGateway
from trio.testing import MockClock

from edgeagent.gateway.store import Tx, nodes, standings


async def test_an_operator_renames_the_node_and_takes_it_off_the_board(port_gateway: PortGateway) -> None:
    """At once, for everybody; the totals count it all the same, and it can come back."""
    operator = await port_gateway.enlist("alice's home address")
    page = f"/nodes/{operator.node_id}"
    async with port_gateway.http(operator.token) as node, port_gateway.http(prefix="") as anyone:
        assert (await anyone.get(page)).status_code == 200
        hidden = (await node.patch("/nodes/me/profile", json={"name": "fox", "visibility": "unlisted"})).json()
        board = (await anyone.get("/api/v1/community/leaderboard")).json()
        gone = await anyone.get(page)
        shown = (await node.patch("/nodes/me/profile", json={"visibility": "listed"})).json()
        back = await anyone.get(page)

    assert hidden == {"node_id": operator.node_id, "name": "fox", "visibility": "unlisted", "rank": None, "page": page}
    assert (board["leaderboard"], board["stats"]["totalNodes"]) == ([], 1)
    assert (gone.status_code, "alice" in gone.text) == (404, False)
    assert (shown["visibility"], shown["rank"], shown["name"]) == ("listed", 1, "fox")
    assert "fox" in back.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "BOB"}, 409),  # another node's, but for the case
        ({"name": "bob\u3164"}, 409),
        ({"name": "\u202ebob"}, 422),
        ({"name": "\u3164"}, 422),
        ({"name": ""}, 422),
        ({"name": "n" * 101}, 422),
        ({"visibility": 0}, 422),
        ({"hidden": True}, 422),
    ],
)
async def test_a_name_that_nobody_may_have_changes_nothing(
    port_gateway: PortGateway, body: dict[str, object], status: int
) -> None:
    """It says why, and the node is called what it was called."""
    await port_gateway.enlist("bob")
    operator = await port_gateway.enlist("alice")
    async with port_gateway.http(operator.token) as node:
        answer = await node.patch("/nodes/me/profile", json=body)
        profile = (await node.get("/nodes/me/profile")).json()

    assert answer.status_code == status
    assert answer.json()["detail"]
    assert (profile["name"], profile["visibility"]) == ("alice", "listed")


async def test_only_the_node_itself_may(port_gateway: PortGateway) -> None:
    """A submitter's token is none of a node's."""
    async with port_gateway.http(await port_gateway.account()) as http:
        assert (await http.patch("/nodes/me/profile", json={"visibility": "unlisted"})).status_code == 401


async def test_the_past_of_a_node_is_its_days_and_states(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Jobs and what they earned by day, an adjustment on the day it was made; nothing of a node that is not listed."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    store = memory_gateway.hub.store
    today = int(store.clock() // 86400)
    async with memory_gateway.at_work(operator) as node:
        for job_type in ("render", "echo"):
            await memory_gateway.submit(account, job_type)
            await node.finish(await node.accept())
    await store.write(standings.adjust_earned, operator.node_id, -4_000_000)
    memory_gateway.wall.ahead_s += 2 * 86400
    await store.write(standings.adjust_earned, operator.node_id, 1)

    past = await store.read(standings.past, operator.node_id, 30)
    assert past is not None
    assert past.days == {today: (2, 6_000_000), today + 2: (0, 1)}
    assert [one.state.value for one in past.spells] == ["REGISTERED", "HEALTHY"]
    assert past.capabilities == ("echo", "render")
    assert (await store.read(lambda tx: standings.past(tx, operator.node_id, 1))).days == {today + 2: (0, 1)}  # type: ignore[union-attr]

    await store.write(_hide, operator.node_id)
    assert await store.read(standings.past, operator.node_id, 30) is None


def _hide(tx: Tx, node_id: str) -> None:
    nodes.appear(tx, node_id, None, False)

"""The wall clock is set while the gateway runs: what is ordered stays in order, and no duration is below zero."""

from __future__ import annotations

import pytest
import trio
from scripted import MemoryGateway
from trio.testing import MockClock

from edgeagent.gateway import auth, leaderboard
from edgeagent.gateway.store import accounts, admission, orders, standings, views
from edgeagent.wire.messages import NodeState

DAY_S = 24 * 3600.0


@pytest.mark.parametrize("jump_s", [-DAY_S, -1.0, DAY_S])
async def test_the_list_of_jobs_keeps_its_order(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, jump_s: float
) -> None:
    """Newest first is by when they came, not by what the clock said; pages neither repeat nor leave out."""
    await memory_gateway.enlist()
    account = await memory_gateway.account()
    made = []
    for number in range(6):
        made.append(await memory_gateway.submit(account, "echo"))
        memory_gateway.wall.ahead_s += jump_s * (-1) ** number
    listed: list[str] = []
    before = None
    while len(listed) < 6:
        page = await memory_gateway.hub.store.read(
            lambda tx, last: views.list_jobs(tx, account, before=last, limit=2), before
        )
        listed += [job.job_id for job in page]
        before = listed[-1]
    assert listed == made[::-1]


@pytest.mark.parametrize("jump_s", [-DAY_S, DAY_S])
async def test_a_job_over_a_jump_has_times_that_can_be(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, jump_s: float
) -> None:
    """It ends as ever, its lease is no shorter, and neither waiting nor running took less than nothing."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        job_id = await memory_gateway.submit(account)
        memory_gateway.wall.ahead_s += jump_s
        await node.ready()
        dispatch = await node.accept()
        memory_gateway.wall.ahead_s += jump_s
        for _ in range(4):
            await trio.sleep(15)
            await node.beat(dispatch.attempt_id, free_slots=0)
        assert (await node.finish(dispatch)).credited_ucr
    job = await memory_gateway.job(account, job_id)
    assert (job.state.value, len(job.attempts)) == ("COMPLETED", 1)
    assert job.queued_s >= 0
    assert job.running_s >= 0


async def test_uptime_outlives_a_clock_that_is_set_back(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Hours of health are not undone by the interval in which the clock went back, nor is the order of states."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        await trio.sleep(10)
        memory_gateway.wall.ahead_s += 3600
        for _ in range(10):
            await node.beat_after(15)
    await trio.sleep(200)  # UNHEALTHY since 90 s after the last word
    assert memory_gateway.state(operator) is NodeState.UNHEALTHY
    memory_gateway.wall.ahead_s -= DAY_S
    await memory_gateway.hub.heard(operator.node_id)
    await trio.sleep(60)

    (standing,) = await memory_gateway.hub.store.read(standings.standings)
    assert 3600 < standing.healthy_s < 3600 + 600
    assert standing.healthy_s <= standing.known_s
    (ranked,) = leaderboard.rank([standing])
    assert 90 < ranked.uptime_percent <= 100
    _, history = await memory_gateway.hub.store.read(orders.show_member, operator.node_id)
    assert [state for state, *_ in history] == ["REGISTERED", "HEALTHY", "UNHEALTHY", "HEALTHY"]


@pytest.mark.parametrize("jump_s", [-DAY_S, DAY_S])
async def test_what_the_owner_lists_keeps_its_order(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, jump_s: float
) -> None:
    """Tokens, join tokens and nodes are listed in the order in which they were made."""
    store = memory_gateway.hub.store
    tokens, tickets, enlisted = [], [], []
    for number in range(4):
        token, ticket = auth.token_sha256(auth.new_account_token()), auth.token_sha256(auth.new_join_token())
        await store.write(accounts.add_token, "studio", token, 0)
        await store.write(admission.add_join_token, ticket, None, None)
        enlisted.append((await memory_gateway.enlist(f"node {number}")).node_id)
        tokens.append(token[:12])
        tickets.append(ticket[:12])
        memory_gateway.wall.ahead_s += jump_s * (-1) ** number

    assert [token.name for token in await store.read(accounts.all_tokens)] == tokens
    assert [ticket.name for ticket in await store.read(admission.all_join_tokens)] == tickets
    assert [node.node_id for node in await store.read(orders.list_members)] == enlisted

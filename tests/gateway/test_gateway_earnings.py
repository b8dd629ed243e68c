"""What a node has earned: summed by UTC's days and months, and by job type, out of the books alone."""

from __future__ import annotations

import httpx2
import pytest
import sqlalchemy as sa
from scripted import MemoryGateway, PortGateway, on_both_databases, refused, submit

from edgeagent.gateway.earnings import DAY_S, Earned, earnings
from edgeagent.gateway.ledger import Kind
from edgeagent.gateway.store import earnings as stored
from edgeagent.gateway.store import tables

#: 2026-10-31, and the month after it.
LAST, FIRST = 20757, 20758
ROWS = [
    Earned(LAST, Kind.SETTLE, "render", 2, 20),
    Earned(LAST, Kind.SETTLE, "inference", 1, 5),
    Earned(LAST, Kind.REFUND, "render", 1, -10),
    Earned(FIRST, Kind.SETTLE, "render", 1, 10),
    Earned(FIRST, Kind.ADJUSTMENT, None, 1, 3),
    Earned(FIRST, Kind.PAYOUT, None, 1, -15),
]


def test_a_refund_takes_away_and_a_payout_does_not() -> None:
    """A payout is what was earned, on its way to the operator."""
    found = earnings(ROWS, None, (FIRST + 0.5) * DAY_S)

    assert [(one.name, one.jobs, one.earned_ucr, one.paid_out_ucr) for one in found.months] == [
        ("2026-10", 3, 15, 0),
        ("2026-11", 1, 13, 15),
    ]
    assert ("2026-11-01", 13) == (found.today.name, found.today.earned_ucr)
    assert {"render": 10, "": 3} == {one.name: one.earned_ucr for one in found.job_types}


@pytest.mark.parametrize(
    ("month", "days", "types"),
    [
        ("2026-10", {"2026-10-31": 15}, {"render": 10, "inference": 5}),
        ("2026-11", {"2026-11-01": 13}, {"render": 10, "": 3}),
        ("2025-01", {}, {}),
    ],
)
def test_days_and_job_types_are_those_of_the_month(month: str, days: dict[str, int], types: dict[str, int]) -> None:
    """The months beside them are all."""
    found = earnings(ROWS, month, (FIRST + 3) * DAY_S)

    assert days == {one.name: one.earned_ucr for one in found.days}
    assert types == {one.name: one.earned_ucr for one in found.job_types}
    assert (month, sum(days.values())) == (found.month, found.total.earned_ucr)
    assert ("2026-11-04", 0) == (found.today.name, found.today.earned_ucr)
    assert 2 == len(found.months)


@pytest.mark.parametrize(("ahead_s", "day"), [(0.0, 11574), (DAY_S - 6400.5, 11574), (DAY_S - 6399.9, 11575)])
async def test_both_databases_cut_the_day_off_at_midnight(
    autojump_clock: object, memory_gateway: MemoryGateway, ahead_s: float, day: int
) -> None:
    """10^9 s after the epoch is 01:46:40 on day 11574; neither rounds."""
    operator, account_id = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.at_work(operator) as node:
        memory_gateway.wall.ahead_s += ahead_s
        await memory_gateway.submit(account_id, "render")
        await node.finish(await node.accept())

    found = await memory_gateway.hub.store.read(stored.earned, operator.node_id)

    assert [Earned(day, Kind.SETTLE, "render", 1, 10_000_000)] == found


def test_the_books_are_not_read_through_for_one_node() -> None:
    """SQLite finds a node's postings by their index."""
    engine = sa.create_engine("sqlite://")
    tables.metadata.create_all(engine)
    query = stored._EARNED.params(account="node:x").compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()

    assert any("ix_ledger_postings_nodes (account=?)" in step[3] for step in plan), plan


@on_both_databases
async def test_a_node_sees_its_own_earnings(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """Today's and this month's, with the balance; another node sees none of it."""
    operator, other = await port_gateway.enlist("one"), await port_gateway.enlist("two")
    async with port_gateway.at_work(operator) as node:
        for job_type in ("render", "echo"):
            await submit(submitter, job_type)
            await node.finish(await node.accept())
    async with port_gateway.http(operator.token) as http:
        mine = (await http.get("/nodes/me/earnings")).json()
        asked = (await http.get("/nodes/me/earnings", params={"month": mine["month"]})).json()
    async with port_gateway.http(other.token) as http:
        none = (await http.get("/nodes/me/earnings")).json()

    assert mine == asked
    assert [{"name": "render", "jobs": 1, "earned_ucr": 10_000_000, "paid_out_ucr": 0}] == mine["job_types"]
    assert 10_000_000 == mine["today"]["earned_ucr"] == mine["total"]["earned_ucr"] == mine["balance_ucr"]
    assert (0, []) == (none["balance_ucr"], none["months"])


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "x", "0000-01"])
async def test_a_month_that_is_none_is_refused(port_gateway: PortGateway, month: str) -> None:
    """With a line that shows how to write one, where it looks like one."""
    operator = await port_gateway.enlist()
    async with port_gateway.http(operator.token) as http:
        refused(await http.get("/nodes/me/earnings", params={"month": month}), 422, "month")

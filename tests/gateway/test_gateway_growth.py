"""What the gateway asks of its database does not grow with the jobs in it.

SQLite says how many instructions its statements took, so this is counted, not timed.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import trio
from scripted import MemoryGateway, in_memory
from scripted_node import Node
from sqlalchemy import event
from trio.testing import MockClock

from edgeagent import chance
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.ledger import grant
from edgeagent.gateway.store import Tx, oversight, standings, tables, views
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.submissions import New
from edgeagent.gateway.store.tables import jobs
from edgeagent.wire.messages import JobResult, JobResultAck, Outcome

#: Instructions between two calls of SQLite's progress handler: how exactly they are counted.
GRAIN = 10
FEW, MANY = 300, 6000
ROUNDS = 10
#: Instructions that a step may take more or less for other reasons; one look at each that waits would be thousands.
SLACK = 500
#: Of the node: so many jobs are dispatched together.
SLOTS = 8


@pytest.fixture
def instructions() -> Iterator[Counter[str]]:
    """What SQLite has executed, on every connection that is opened from now on."""
    done = Counter[str]()

    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        def count() -> int:
            done["all"] += GRAIN
            return 0

        connection.set_progress_handler(count, GRAIN)

    event.listen(sa.Engine, "connect", prepare)
    yield done
    event.remove(sa.Engine, "connect", prepare)


def new(account_id: str) -> New:
    """Return a job that costs something."""
    return New(job_id=chance.new_id(), account_id=account_id, job_type="render")


def end_all_that_wait(tx: Tx) -> None:
    """Make an end of jobs, as if it had come long ago."""
    ended = {"state": JobState.CANCELLED.value, "finished_at": tx.now}
    tx.connection.execute(sa.update(jobs).where(jobs.c.state == JobState.QUEUED.value).values(ended))


async def done(gateway: MemoryGateway, node: Node, account_id: str) -> None:
    """A node has done its jobs, all at once, and gets as many of those that wait; others come."""
    dispatches = [await node.accept() for _ in range(SLOTS)]
    await gateway.hub.submit(account_id, [new(account_id) for _ in range(SLOTS)])
    results = [JobResult(job_id=one.job_id, attempt_id=one.attempt_id, outcome=Outcome.COMPLETED) for one in dispatches]
    await node.say(*results)
    for _ in results:
        await node.hear(JobResultAck)


async def cancelled(gateway: MemoryGateway, node: Node, account_id: str) -> None:
    """A job that waits is cancelled."""
    job = new(account_id)
    await gateway.hub.submit(account_id, [job])
    await gateway.hub.cancel(job.job_id, account_id)


async def swept(gateway: MemoryGateway, node: Node, account_id: str) -> None:
    """Time passes."""
    await trio.sleep(5)


async def shown(gateway: MemoryGateway, node: Node, account_id: str) -> None:
    """A submitter looks at the newest jobs, and at one of them."""
    found = await gateway.hub.store.read(views.list_jobs, account_id, state=None, job_type=None, before=None, limit=10)
    await gateway.hub.store.read(views.show, account_id, found[0].job_id)


async def granted(gateway: MemoryGateway, node: Node, account_id: str) -> None:
    """The owner gives somebody credits, by a reference that the books must not have yet."""
    await gateway.hub.store.write(books.post_once, grant(account_id, 1, chance.new_id(), ""))


@pytest.mark.parametrize("ballast", ["waiting", "ended"])
@pytest.mark.parametrize("act", [done, cancelled, swept, shown, granted])
async def test_no_step_takes_longer_for_other_jobs(
    autojump_clock: MockClock,
    tmp_path: Path,
    instructions: Counter[str],
    act: Callable[[MemoryGateway, Node, str], Awaitable[None]],
    ballast: str,
) -> None:
    """Twenty times as many jobs wait, or have ended, and each step costs the same."""
    async with in_memory(tmp_path) as gateway:
        account_id = await gateway.account(grant_ucr=10**12)
        costs = []
        async with gateway.at_work(await gateway.enlist(), slots=SLOTS) as node:
            for more in (FEW, MANY - FEW):
                await gateway.hub.submit(account_id, [new(account_id) for _ in range(more)])
                if ballast == "ended":
                    await gateway.hub.store.write(end_all_that_wait)
                    await gateway.hub.submit(account_id, [new(account_id) for _ in range(SLOTS)])
                before = instructions["all"]
                for _ in range(ROUNDS):
                    await act(gateway, node, account_id)
                costs.append((instructions["all"] - before) / ROUNDS)
    assert costs[0] > 0
    assert costs[1] < 1.5 * costs[0] + SLACK


@pytest.mark.parametrize(
    ("asked", "index"),
    [(standings._RECENT, "ix_node_states_until (until>?)"), (oversight._DONE, "ix_node_days_day (day>?)")],
)
def test_what_is_long_past_is_not_read(asked: sa.Select[Any], index: str) -> None:
    """What concerns the last days is found by when it was."""
    engine = sa.create_engine("sqlite://")
    tables.metadata.create_all(engine)
    query = asked.compile(engine)
    values = (0,) * len(query.positiontup or ())
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()
    assert any(f"USING INDEX {index}" in step[3] for step in plan), plan

"""A disk that is full for a while: what is known of nodes is stored later, and whoever waits for a job hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa
import trio
from scripted import MemoryGateway, in_memory
from scripted_node import Operator
from trio.testing import MockClock

from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.store import Tx
from edgeagent.gateway.store.tables import node_states
from edgeagent.wire.messages import JobProgress, NodeState, Outcome


@asynccontextmanager
async def full_at(gateway: MemoryGateway, event: str) -> AsyncIterator[None]:
    """Have the disk be full for whatever does this to a table; everything else has room."""
    await gateway.hub.store.write(_fill, event)
    yield
    await gateway.hub.store.write(_free, event)


def _fill(tx: Tx, event: str) -> None:
    run = tx.connection.exec_driver_sql
    if tx.connection.dialect.name == "postgresql":
        run(
            "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'could not extend file: disk full' USING ERRCODE = 'disk_full'; END $$"
        )
        run(f"CREATE TRIGGER fill BEFORE {event} EXECUTE FUNCTION fill()")
        return
    run("CREATE TABLE filler (x)")
    run(f"CREATE TRIGGER fill BEFORE {event} BEGIN INSERT INTO filler VALUES (zeroblob(100000000)); END")
    pages = run("PRAGMA page_count").scalar_one()
    run(f"PRAGMA max_page_count={pages + 1000}")


def _free(tx: Tx, event: str) -> None:
    of_table = f" ON {event.rpartition(' ')[2]}" if tx.connection.dialect.name == "postgresql" else ""
    tx.connection.exec_driver_sql(f"DROP TRIGGER fill{of_table}")


def states(operator: Operator) -> Callable[[Tx], list[tuple[str, str]]]:
    """Return what reads the states of a node, with their causes."""
    of_node = sa.select(node_states.c.state, node_states.c.cause).where(node_states.c.node_id == operator.node_id)

    def read(tx: Tx) -> list[tuple[str, str]]:
        return [(row.state, row.cause) for row in tx.connection.execute(of_node.order_by(node_states.c.seq))]

    return read


async def test_a_change_of_state_that_could_not_be_stored_is_stored_later(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Silence and the heartbeat after it: in order and with their causes, because uptime is computed from them."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.at_work(operator):
        pass
    async with full_at(memory_gateway, "INSERT ON node_states"):
        await trio.sleep(95)
        assert memory_gateway.state(operator) is NodeState.UNHEALTHY
        await memory_gateway.hub.heard(operator.node_id)
        assert len(await memory_gateway.hub.store.read(states(operator))) == 2

    await trio.sleep(2)

    assert await memory_gateway.hub.store.read(states(operator)) == [
        ("REGISTERED", "registered"),
        ("HEALTHY", "heartbeat"),
        ("UNHEALTHY", "no heartbeat"),
        ("HEALTHY", "heartbeat"),
    ]


async def test_failures_that_could_not_be_stored_are_stored_later(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The results are acknowledged meanwhile, and a restart does not end the probation that they led to."""
    async with in_memory(tmp_path) as gateway:
        operator, account = await gateway.enlist(), await gateway.account()
        async with gateway.at_work(operator, slots=3) as node:
            for _ in range(3):
                await gateway.submit(account)
            dispatches = [await node.accept() for _ in range(3)]
            async with full_at(gateway, "UPDATE OF failures ON nodes"):
                for dispatch in dispatches:
                    await node.finish(dispatch, Outcome.FAILED)
            await trio.sleep(2)
    async with in_memory(tmp_path) as gateway:
        assert gateway.hub.network.registry[operator.node_id].probation


async def test_a_watcher_hears_of_the_end_though_the_last_lines_could_not_be_stored(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """The job is cancelled, and its lines are what is left out."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.at_work(operator) as node:
        job = await memory_gateway.submit(account)
        dispatch = await node.accept()
        await node.say(JobProgress(attempt_id=dispatch.attempt_id, log=("a line",)))
        await node.beat(dispatch.attempt_id, free_slots=0)
        with memory_gateway.hub.feeds.watch(job) as feed:
            before = feed.state
            async with full_at(memory_gateway, "INSERT ON attempt_logs"):
                assert await memory_gateway.hub.cancel(job, account)
            assert feed.state > before
        assert (await memory_gateway.job(account, job)).state is JobState.CANCELLED

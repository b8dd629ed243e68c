"""The gateway's figures: counted right, with few labels, for the owner alone."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from scripted import FILE, MemoryGateway, PortGateway, announced, pieces, refused, submit

from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.api import figures
from edgeagent.gateway.metrics import MAX_TYPES, Histogram, bounded
from edgeagent.gateway.scopes import Scope
from edgeagent.gateway.store.uploads import Owner
from edgeagent.wire.exposition import sample


def test_a_histogram_counts_up_to_each_bound() -> None:
    """A value on a bound belongs to it."""
    histogram = Histogram(1, 5)
    for value in (0.5, 1, 3, 7):
        histogram.observe(value)
    assert list(histogram.lines("x")) == [
        'x_bucket{le="1"} 2',
        'x_bucket{le="5"} 3',
        'x_bucket{le="+Inf"} 4',
        "x_sum 11.5",
        "x_count 4",
    ]


def test_a_label_cannot_break_out_of_its_quotes() -> None:
    """Whatever a job type is called."""
    assert sample("x", 1, {"type": 'a"} 9\nb\\'}) == 'x{type="a\\"} 9\\nb\\\\"} 1'


def test_rare_job_types_are_taken_together() -> None:
    """And none is lost."""
    counts = {("QUEUED", f"type{number}"): number + 1 for number in range(MAX_TYPES + 10)}
    found = bounded(counts)
    assert len(found) == MAX_TYPES + 1
    assert found["QUEUED", "other"] == sum(range(1, 11))
    assert found.total() == sum(counts.values())


async def test_the_figures_are_the_gateways(port_gateway: PortGateway) -> None:
    """Jobs, nodes, links and latencies, as they are."""
    operator = await port_gateway.enlist()
    make = partial(create_token, scopes=frozenset({Scope.ADMIN}))
    admin = await trio.to_thread.run_sync(make, port_gateway.data_dir, "owner", 0)
    async with port_gateway.http(await port_gateway.account()) as http, port_gateway.as_node(operator) as node:
        await node.ready()
        await submit(http)
        await node.accept()
        await submit(http)
        async with port_gateway.http(admin, prefix="") as owner:
            answer = await owner.get("/metrics")
    told = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'edgeagent_jobs{state="QUEUED",type="render"} 1' in told
    assert "edgeagent_queue_depth 1" in told
    assert 'edgeagent_nodes{state="HEALTHY"} 1' in told
    assert "edgeagent_links 1" in told
    assert "edgeagent_open_uploads 0" in told
    assert "edgeagent_dispatch_latency_seconds_count 1" in told
    assert 'edgeagent_writer_batch_size_bucket{le="1"} 0' not in told


async def test_jobs_that_take_long_to_count_are_counted_seldom(
    autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count that takes 3 s is good for a minute, one that takes no time for ten seconds."""
    store, takes_s, counts = memory_gateway.hub.store, 0.0, list[float]()
    jobs, read = figures.JobCounts(store), store.read

    async def slow(*asked: Any) -> Any:
        if asked[0] is figures._count:
            counts.append(trio.current_time())
            await trio.sleep(takes_s)
        return await read(*asked)

    monkeypatch.setattr(store, "read", slow)
    for takes_s in (0.0, 3.0):
        counts.clear()
        end = trio.current_time() + 120
        while trio.current_time() < end:
            await jobs.current()
            await trio.sleep(1)
        gaps = {round(later - earlier) for earlier, later in itertools.pairwise(counts)}
        assert gaps == {figures.FRESH_S if not takes_s else takes_s + figures.TIMES * takes_s}


async def test_files_are_counted(autojump_clock: trio.testing.MockClock, memory_gateway: MemoryGateway) -> None:
    """What is kept as of the last collection, what has come, whether it is complete or not, and what comes."""
    hub, owner = memory_gateway.hub, Owner(await memory_gateway.account())
    await memory_gateway.give(owner)
    await hub.uploads.begin(announced("half", owner, bytes(100)))
    await hub.uploads.append("half", owner, 0, pieces(bytes(50)), None)
    await hub.collector.sweep()
    told = "".join(await figures._of_files(hub)).splitlines()
    assert [line for line in told if not line.startswith("#")] == [
        f"edgeagent_stored_bytes {len(FILE)}",
        "edgeagent_stored_files 1",
        f"edgeagent_received_bytes_total {len(FILE) + 50}",
        "edgeagent_open_uploads 1",
    ]


async def test_the_figures_are_for_the_owner_alone(port_gateway: PortGateway) -> None:
    """A submitter's token is not enough, nor is coming from this machine."""
    async with port_gateway.http(await port_gateway.account(), prefix="") as http:
        refused(await http.get("/metrics"), 403, "may not admin")
    async with port_gateway.http(prefix="") as http:
        refused(await http.get("/metrics"), 401)

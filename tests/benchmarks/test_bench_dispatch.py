"""What ``benchmarks.dispatch`` is made of: simulated nodes on a real gateway, one dispatch by itself, and the peers."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import pytest

from benchmarks import dispatch
from benchmarks.dispatching import decisions, peers, processes, stage
from benchmarks.dispatching.fleet import JOB_TYPE, Fleet
from benchmarks.harness import BenchmarkError, Run


def _count(data, what):
    with contextlib.closing(sqlite3.connect(data / "gateway.db")) as database:
        return database.execute(f"SELECT count(*) FROM {what}").fetchone()[0]


@pytest.mark.parametrize("singly", [0, 2])
def test_simulated_nodes_are_credited_by_a_real_gateway(tmp_path, singly):
    """Jobs are submitted, by batches or one by one, done by all nodes, and paid for."""
    prepared = stage.prepare(tmp_path / "stage", node_count=3, job_type=JOB_TYPE)

    with prepared.gateway() as served, contextlib.closing(Fleet(served)) as fleet:
        fleet.open(prepared.members)
        window = fleet.work(0.1, waiting=10, singly=singly)
        (copy,) = tmp_path.glob("edgeagent-bench-*/data")
        settled = _count(copy, "ledger_entries WHERE kind = 'settle'")
        earners = _count(copy, "nodes WHERE jobs_completed > 0")

    assert settled >= len(window.latencies_s) > 0
    assert all(latency_s > 0 for latency_s in window.latencies_s)
    assert 3 == earners
    assert window.jobs_per_s > 0
    assert 0 <= window.load_share < 2
    assert not list(tmp_path.glob("edgeagent-bench-*"))


def test_a_prepared_queue_is_done_too(tmp_path):
    """What waits when the gateway starts is dispatched before anything is submitted."""
    prepared = stage.prepare(tmp_path / "stage", node_count=1, job_type=JOB_TYPE, waiting=20)

    with prepared.gateway() as served, contextlib.closing(Fleet(served)) as fleet:
        fleet.open(prepared.members)
        fleet.work(0.0, waiting=20, seeded=20)
        (copy,) = tmp_path.glob("edgeagent-bench-*/data")

        assert _count(copy, "jobs WHERE job_id LIKE '%-seeded' AND state = 'COMPLETED'") > 0


def test_a_refused_job_ends_the_measurement(tmp_path):
    """In the gateway's own words: a figure without its jobs would be none."""
    prepared = stage.prepare(tmp_path / "stage", node_count=1, job_type="something else")

    with (
        prepared.gateway() as served,
        contextlib.closing(Fleet(served)) as fleet,
        pytest.raises(BenchmarkError, match="no node has ever offered job type"),
    ):
        fleet.work(0.1, waiting=10)


def test_a_gateway_that_does_not_start_is_named(tmp_path):
    """With the end of its log."""
    prepared = stage.prepare(tmp_path / "stage", node_count=0, job_type=JOB_TYPE)
    (prepared.data / "gateway_key.pem").write_text("no key")

    with pytest.raises(BenchmarkError, match=r"did not start: .*gateway_key\.pem"), prepared.gateway():
        pass


def test_one_dispatch_is_measured_by_nodes_and_by_queue(tmp_path):
    """A row for each size of either, each with a value for each round."""
    run = Run()

    decisions.measure(run, tmp_path, sizes=(10, 20), rounds=2)

    assert {
        (decisions.BY_NODES, "10 nodes", 2),
        (decisions.BY_NODES, "20 nodes", 2),
        (decisions.BY_QUEUE, "10 jobs waiting", 2),
        (decisions.BY_QUEUE, "20 jobs waiting", 2),
    } == {(row.group, row.name, row.samples) for row in run.rows()}


def test_peers_without_a_redis_are_named(monkeypatch, tmp_path):
    """Every single one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    absent = {}

    with peers.running(absent) as (redis, there):
        assert (None, ()) == (redis, there)

    assert {peer.name: "no redis-server on the PATH" for peer in peers.PEERS} == absent


def test_peers_that_are_not_installed_are_named(monkeypatch, tmp_path):
    """With the package that is missing."""
    (tmp_path / "redis-server").write_text("#!/bin/sh\n")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda _: None)
    absent = {}

    with peers.running(absent):
        pass

    assert {f"the Python package {peer.package} is not installed" for peer in peers.PEERS} == set(absent.values())


def test_the_processor_time_of_a_process_grows():
    """It is what the process itself is told."""
    before = os.times()
    used_s = processes.cpu_s(os.getpid())
    after = os.times()

    tick_s = 2 / os.sysconf("SC_CLK_TCK")
    assert before.user + before.system - tick_s <= used_s <= after.user + after.system + tick_s


def test_every_target_is_on_a_row_that_a_full_run_has():
    """A target on a misspelt row would never be met."""
    effort = dispatch.Effort()
    sizes = {f"{size:,}" for size in effort.sizes}

    assert dispatch.NODES in effort.node_counts
    assert {f"{size:,}" for size in (dispatch.SMALL, dispatch.LARGE)} <= sizes
    assert set(dispatch.LINKS) <= set(effort.links)
    assert set(dispatch.CELERY) == {peer.name for peer in peers.PEERS if peer.package == "celery"} != set()

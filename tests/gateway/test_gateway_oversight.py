"""The owner and everybody's jobs: what there is, what is dead, what is queued again, with a gateway or without."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from click.testing import CliRunner
from scripted import PATIENCE_S, PortGateway, on_a_port, submit

from edgeagent.cli import main
from edgeagent.errors import EdgeAgentError
from edgeagent.gateway import oversight
from edgeagent.gateway.accounts import read_audit
from edgeagent.gateway.announcement import steady_now
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import transaction
from edgeagent.gateway.store.tables import jobs
from edgeagent.wire.messages import JobDispatch, Outcome

#: Ends an attempt for good: the job gets no other.
FATAL = Outcome.REJECTED


async def jobs_command(place: Path, *command: str) -> dict[str, Any]:
    """Run ``gateway jobs`` with --json, and return its document."""
    run = partial(CliRunner().invoke, main, ["gateway", "jobs", *command, "--data", str(place), "--json"])
    done = await trio.to_thread.run_sync(run)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


async def failed_job(gateway: PortGateway, http: httpx2.AsyncClient, **body: Any) -> str:
    """Have a job fail on a node of its own; return its id."""
    async with gateway.as_node(await gateway.enlist()) as node:
        await node.ready()
        job: str = (await submit(http, **body))["job_id"]
        await node.finish(await node.accept(), FATAL, detail="no such scene")
    return job


async def test_the_owner_sees_the_jobs_of_all_accounts(port_gateway: PortGateway) -> None:
    """Newest first, by state, type and account."""
    await port_gateway.enlist()
    ids = {}
    for name, job_type in (("one", "render"), ("two", "echo")):
        async with port_gateway.http(await port_gateway.account(name)) as http:
            ids[name] = (await submit(http, job_type))["job_id"]

    async def listed(*options: str) -> list[tuple[str, str]]:
        found = await jobs_command(port_gateway.data_dir, "list", *options)
        assert found["schema"] == "edgeagent.gateway-jobs/1"
        return [(one["account"], one["job_id"]) for one in found["jobs"]]

    one, two = ("one", ids["one"]), ("two", ids["two"])
    assert await listed() == [two, one]
    assert await listed("--limit", "1") == [two]
    assert await listed("--account", "one") == [one]
    assert await listed("--type", "echo") == [two]
    assert await listed("--status", "queued") == [two, one]
    assert await listed("--status", "failed") == []


async def test_a_dead_job_is_shown_with_its_attempts(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """Where each was, how it ended and why; one that is alive is not."""
    job = await failed_job(port_gateway, submitter)
    await submit(submitter)

    (shown,) = (await jobs_command(port_gateway.data_dir, "dead"))["jobs"]

    assert (shown["job_id"], shown["account"], shown["status"]) == (job, "studio", "FAILED")
    (attempt,) = shown["attempts"]
    assert (attempt["node_name"], attempt["outcome"], attempt["detail"]) == ("node", FATAL.value, "no such scene")


async def test_a_requeued_job_reaches_a_node_at_once(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """Although nobody told the dispatcher but the bell; once, however often it is asked for, and the log says so."""
    job = await failed_job(port_gateway, submitter)
    async with port_gateway.as_node(await port_gateway.enlist("second")) as node:
        await node.ready()
        with trio.fail_after(PATIENCE_S):  # the dispatcher's own look comes after 30 s
            done = await jobs_command(port_gateway.data_dir, "requeue", job)
            dispatch = await node.hear(JobDispatch)
    assert done == {
        "schema": "edgeagent.requeued-job/1",
        "job_id": dispatch.job_id,
        "requeue_of": job,
        "changed": True,
    }
    assert await jobs_command(port_gateway.data_dir, "requeue", job) == {**done, "changed": False}
    place = GatewaySettings(data_dir=port_gateway.data_dir)
    log = await trio.to_thread.run_sync(read_audit, place, 10)
    assert [(one.subject, one.detail) for one in log if one.action == "job.requeue"] == [(job, f"as {dispatch.job_id}")]
    assert log[-1].actor.startswith("owner ")
    assert (await jobs_command(port_gateway.data_dir, "dead"))["jobs"] == []


async def test_a_requeued_job_is_found_behind_jobs_that_wait(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """A lane that the dispatcher knows whole does not hide it: it goes before one of lower priority."""
    job = await failed_job(port_gateway, submitter, priority=9)
    waiting = (await submit(submitter, priority=1))["job_id"]
    async with port_gateway.as_node(await port_gateway.enlist("second")) as node:
        new = (await jobs_command(port_gateway.data_dir, "requeue", job))["job_id"]
        await node.ready()
        first = await node.accept()
        await node.finish(first)
        await node.beat()
        assert [first.job_id, (await node.accept()).job_id] == [new, waiting]


async def test_a_job_is_requeued_without_a_gateway(tmp_path: Path) -> None:
    """And runs when there is one again."""
    async with on_a_port(tmp_path) as gateway, gateway.http(await gateway.account()) as http:
        job = await failed_job(gateway, http)
    new = (await jobs_command(tmp_path, "requeue", job))["job_id"]
    async with on_a_port(tmp_path) as gateway, gateway.as_node(await gateway.enlist("second")) as node:
        await node.ready()
        assert (await node.accept()).job_id == new


async def test_what_cannot_be_queued_again_is_one_line(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """No such job, one that is alive, one that its account cannot pay for any more, no such account."""
    place = GatewaySettings(data_dir=port_gateway.data_dir)
    alive = await failed_job(port_gateway, submitter)
    async with port_gateway.http(await port_gateway.account("poor", 10_000_000)) as http:
        async with port_gateway.as_node(await port_gateway.enlist("second")) as node:
            await node.ready()
            poor = (await submit(http))["job_id"]
            await node.finish(await node.accept(), FATAL)
        await submit(http)
    alive = (await trio.to_thread.run_sync(oversight.requeue, place, alive))[0]
    for job, words in (("nix", "no job 'nix'; see: "), (alive, "it is QUEUED"), (poor, "10 credits are needed")):
        with pytest.raises(EdgeAgentError, match=words):
            await trio.to_thread.run_sync(oversight.requeue, place, job)
    with pytest.raises(EdgeAgentError, match="no account 'nobody'"):
        await trio.to_thread.run_sync(partial(oversight.dead_letters, place, account="nobody", limit=1))


async def test_a_deadline_counts_on_the_running_gateways_clock(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wall clock that was set since the gateway started moves no deadline."""
    job = await failed_job(port_gateway, submitter, deadline_s=1000)
    place = GatewaySettings(data_dir=port_gateway.data_dir)

    def deadlines() -> dict[str, float]:
        with transaction(place) as tx:
            return {row.job_id: row.deadline_at for row in tx.connection.execute(jobs.select())}

    with monkeypatch.context() as set_ahead:
        set_ahead.setattr("edgeagent.gateway.data.wall_clock", lambda: 5e9)
        new = (await trio.to_thread.run_sync(oversight.requeue, place, job))[0]
    found = await trio.to_thread.run_sync(deadlines)
    assert 0 <= found[new] - found[job] < 5 * PATIENCE_S


def test_without_a_gateway_deadlines_count_on_the_wall_clock(tmp_path: Path) -> None:
    """Also where one that was killed has left its announcement."""
    assert steady_now(tmp_path, 7.0) == 7.0
    (tmp_path / "gateway.json").write_text('{"pid": 1, "url": "http://127.0.0.1:1", "clock_ahead_s": 99.0}')
    assert steady_now(tmp_path, 7.0) == 7.0

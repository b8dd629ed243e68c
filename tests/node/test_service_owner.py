"""A whole node in its owner's hands: what the control socket and the status page show, and what can be ordered."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from loopback_gateway import Gateway
from service_node import NODE_ID, Node, dispatch, in_time, owners_view

import plain_http
from edgeagent.errors import EdgeAgentError
from edgeagent.node import journal
from edgeagent.node.config import Identity
from edgeagent.node.controller import Controller
from edgeagent.wire.messages import (
    Bye,
    Drain,
    Heartbeat,
    HeartbeatAck,
    JobAccept,
    JobDecline,
    JobResult,
    JobResultAck,
    NodeState,
    Outcome,
)


async def _order(config: Identity, do: str, **details: Any) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        with Controller(config.home) as controller:
            return controller.ask(do, **details)

    return await trio.to_thread.run_sync(ask)


async def test_the_owner_sees_what_runs_and_how_the_gateway_sees_the_node(
    gateway: Gateway, node: Node, config: Identity
) -> None:
    """One document, with a schema."""
    with in_time():
        link = await gateway.accept()
        await link.welcome()
        beat = await link.get(Heartbeat)
        await link.say(HeartbeatAck(seq=beat.seq, state=NodeState.HEALTHY, probation=True, no_work="on probation"))
        job = dispatch()
        await link.say(job)
        await link.get(JobAccept)
        await node.executor.started.wait()
        state = await owners_view(config)
        while state["link"]["state"] is None:
            state = await owners_view(config)

    (running,) = state["running"]
    assert ("edgeagent.node-state/1", NODE_ID) == (state["schema"], state["node_id"])
    assert (True, "HEALTHY", True, "on probation") == tuple(
        state["link"][key] for key in ("up", "state", "probation", "no_work")
    )
    assert (job.attempt_id, job.job_id, "echo") == tuple(running[key] for key in ("attempt_id", "job_id", "job_type"))
    assert (2, 1, [{"job_type": "echo", "against": []}]) == (state["slots"], state["free_slots"], state["job_types"])
    assert state["spool"]["size_bytes"] > 0


async def test_a_paused_node_takes_nothing_and_says_so_at_once(gateway: Gateway, node: Node, config: Identity) -> None:
    """What runs goes on, the link stays, and after resume jobs are taken again."""
    with in_time():
        link = await gateway.accept()
        await link.welcome(heartbeat_s=3600)
        assert () == (await link.get(Heartbeat)).not_now
        await link.say(first := dispatch())
        await link.get(JobAccept)
        await _order(config, "pause")
        told = await link.get(Heartbeat)
        await link.say(dispatch())
        declined = await link.get(JobDecline)
        state = await owners_view(config)
        assert (await _order(config, "resume"))["was_paused"]
        again = await link.get(Heartbeat)
        node.executor.let_go.set()
        result = await link.get(JobResult)

    assert (("echo",), 0, (first.attempt_id,)) == (told.not_now, told.free_slots, told.running)
    assert "paused by its owner" in declined.reason
    assert ["paused"] == [reason["code"] for reason in state["against"]]
    assert ((), 1) == (again.not_now, again.free_slots)
    assert (first.attempt_id, Outcome.COMPLETED) == (result.attempt_id, result.outcome)


async def test_a_drain_by_the_owner_ends_the_node(gateway: Gateway, node: Node, config: Identity) -> None:
    """With a deadline of his own, which another order can only bring nearer."""
    with in_time():
        link = await gateway.accept()
        await link.welcome()
        await link.say(dispatch())
        await link.get(JobAccept)
        first = await _order(config, "drain", deadline_s=3600)
        later = await _order(config, "drain", deadline_s=7200)
        drain = await link.get(Drain)
        state = await owners_view(config)
        assert not node.ended.is_set()
        await _order(config, "drain", deadline_s=0)
        result = await link.get(JobResult)
        await link.say(JobResultAck(attempt_id=result.attempt_id))
        await link.get(Bye)
        await link.say(Bye(reason="goodbye"))
        await node.ended.wait()

    assert (1, 3600) == (first["running"], pytest.approx(first["left_s"], abs=20))
    assert later["left_s"] <= first["left_s"]
    assert "drained by its owner" in drain.reason
    assert drain.reason == state["draining"]
    assert Outcome.LOST is result.outcome


@pytest.mark.parametrize("value", [-1, "1h", True, 1e12])
async def test_an_order_that_makes_no_sense_is_refused(node: Node, config: Identity, value: object) -> None:
    """The node goes on as before."""
    with in_time(), pytest.raises(EdgeAgentError, match="deadline_s must be seconds from 0"):
        await _order(config, "drain", deadline_s=value)
    assert not node.stop.asked


async def test_the_page_and_the_figures_show_the_running_node(gateway: Gateway, node: Node, config: Identity) -> None:
    """Beside the health check, with the job that runs; a gateway without books is no fault."""
    with in_time():
        link = await gateway.accept()
        await link.welcome()
        await link.say(job := dispatch())
        await link.get(JobAccept)
        async with plain_http.client(base_url=node.health_url.removesuffix("/health")) as http:
            page, figures = await http.get("/"), await http.get("/metrics")

    assert (200, 200) == (page.status_code, figures.status_code)
    assert job.job_id in page.text
    assert 'edgeagent_node_running_jobs{type="echo"} 1' in figures.text


async def test_what_a_job_prints_stands_in_its_log(gateway: Gateway, node: Node, config: Identity) -> None:
    """Of that job, and not in the node's own log."""
    with in_time():
        link = await gateway.accept()
        await link.welcome()
        await link.say(job := dispatch())
        await link.get(JobAccept)
        await node.executor.started.wait()

    (line,) = journal.entries(config.home, job=job.job_id)
    assert ("printed", "hello from the job", job.attempt_id) == (line["level"], line["event"], line["attempt_id"])
    assert [] == list(journal.entries(config.home))

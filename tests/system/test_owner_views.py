"""What an operator sees of a running node, with the commands: status, why and earnings, of real processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from test_commands import edgeagent

pytestmark = pytest.mark.needs("sandbox")
LIMIT_S = 300.0


async def test_a_nodes_owner_sees_how_it_is_and_what_it_earned(network: Callable[..., Any], tmp_path: Path) -> None:
    """A job is run and paid for; status, why and earnings agree about it."""
    home = {"EDGEAGENT_HOME": str(tmp_path / "node")}
    with trio.fail_after(LIMIT_S):
        async with network() as session:
            job = await session.client.submit("cpu_benchmark", {"limit": 100})
            assert "COMPLETED" == (await session.client.wait(job["job_id"]))["status"]
            status = await edgeagent("status", "--json", **home)
            text = await edgeagent("status", **home)
            why = await edgeagent("why", "--json", **home)
            earned = await edgeagent("earnings", "--json", **home)
            lines = await edgeagent("earnings", **home)
            jobs = await edgeagent("jobs", "--json", **home)
            logs = await edgeagent("logs", "--json", "--job", job["job_id"], **home)
            doctor = await edgeagent("doctor", "--json", **home)
            renamed = await edgeagent("profile", "--name", "Render Box", "--unlisted", "--json", **home)
            refused = await edgeagent("profile", "--name", "\u3164", **home)
            profile = await edgeagent("profile", "--listed", **home)

    seen = json.loads(status.stdout)
    assert (0, 0, "edgeagent.node-status/1", "healthy") == (status.code, text.code, seen["schema"], seen["health"])
    assert (1, "HEALTHY", 1_000_000) == (seen["completed"], seen["link"]["state"], seen["earnings"]["month_ucr"])
    assert "1 completed" in text.stdout
    reasons = json.loads(why.stdout)
    assert ("edgeagent.why/1", "no_demand", None) == (
        reasons["schema"],
        reasons["reasons"][0]["code"],
        reasons["gateway_fault"],
    )
    assert 1_000_000 == json.loads(earned.stdout)["total"]["earned_ucr"]
    assert "cpu_benchmark" in lines.stdout
    (done,) = json.loads(jobs.stdout)["ended"]
    assert (job["job_id"], "completed", 1_000_000) == (done["job_id"], done["outcome"], done["credited_ucr"])
    told = [json.loads(line)["event"] for line in logs.stdout.splitlines()]
    assert {"Received job_dispatch", "Job completed"} <= set(told)
    verdicts = {one["check"]: one for one in json.loads(doctor.stdout)["checks"]}
    assert (0, "PASS", "PASS") == (doctor.code, verdicts["membership"]["level"], verdicts["gateway"]["level"])
    assert "a node runs" in verdicts["port"]["text"]
    appears = json.loads(renamed.stdout)
    assert ("edgeagent.profile/1", "Render Box", "unlisted", None) == (
        appears["schema"],
        appears["name"],
        appears["visibility"],
        appears["rank"],
    )
    assert (3, 1) == (refused.code, refused.stderr.count("\n"))
    assert ["name  Render Box", "rank  1", f"page  {appears['page']}"] == profile.stdout.splitlines()


@pytest.mark.parametrize("command", ["status", "why"])
async def test_no_node_is_said(tmp_path: Path, command: str) -> None:
    """Exit code 4, and how to start one."""
    with trio.fail_after(LIMIT_S):
        said = await edgeagent(command, EDGEAGENT_HOME=str(tmp_path))

    assert (4, "") == (said.code, said.stdout)
    assert "no node runs" in said.stderr
    assert "edgeagent run" in said.stderr

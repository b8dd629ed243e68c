"""The demo from start to end: bring a network up, run the jobs, show and check what came out."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from edgeagent.client import Client
from edgeagent.demo.jobs import JOBS, DemoJob
from edgeagent.demo.network import Network, running
from edgeagent.rest import Rest
from edgeagent.wire.units import UCR_PER_CREDIT

Json = dict[str, Any]
#: Credits the demo's submitter starts with; the four jobs cost 16.
GRANT_UCR = 100 * UCR_PER_CREDIT


class Follower(Protocol):
    """Whatever shows jobs as they move."""

    def update(self, job: Json) -> None:
        """Show a job as it is now."""

    def say(self, line: str) -> None:
        """Show one line."""


@attrs.frozen(kw_only=True)
class Demo:
    """What the demo has to say."""

    jobs: tuple[Json, ...]
    node: Json
    outputs: tuple[str, ...]
    complaints: tuple[str, ...]  # empty: all completed, right and credited
    address: str  # of the leaderboard, while it runs


async def run(
    data: Path | None, output: Path | None, follower: Follower, show: Callable[[Demo], Awaitable[None]]
) -> Demo:
    """Run the demo and return what there is to say; ``show`` is awaited while the network is still up.

    Args:
        data: directory of the gateway, the node and their logs; None takes a temporary one.
        output: directory for the jobs' files; None keeps them under ``data``, or nowhere when that is temporary.
        follower: shows the jobs as they move.
        show: called with the result; the network stops when it returns.

    Raises:
        EdgeAgentError: the network did not come up, or broke.
    """
    with _directory(data) as place:
        capabilities = tuple(job.job_type for job in JOBS)
        async with running(place, grant_ucr=GRANT_UCR, capabilities=capabilities) as network:
            follower.say(f"Gateway with leaderboard at {network.gateway}/, node {network.node.node_id} is healthy")
            demo = await _run_jobs(network, output or place / "results", follower)
            await show(demo)
    return demo


@contextlib.contextmanager
def _directory(data: Path | None) -> Iterator[Path]:
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="edgeagent-demo-") as name:
        yield Path(name)


async def _run_jobs(network: Network, output: Path, follower: Follower) -> Demo:
    jobs: dict[str, Json] = {}
    outputs: list[str] = []
    complaints: list[str] = []
    async with Client(network.gateway, network.token) as client:

        async def one(wanted: DemoJob, job_id: str) -> None:
            state = await client.wait(job_id, follower.update)
            jobs[job_id] = {**_summary(state), "result": None}
            if state["status"] != "COMPLETED":
                complaints.append(f"{wanted.job_type} is {state['status']}: {state['error']}")
                return
            result = await client.result(job_id)
            jobs[job_id]["result"] = result["value"]
            if complaint := wanted.check(result):
                complaints.append(f"{wanted.job_type}: {complaint}")
            if state["credited_ucr"] != state["price_ucr"]:
                complaints.append(f"{wanted.job_type} completed and was not credited")
            outputs.extend([str(await client.download(job_id, file, output)) for file in result["outputs"]])

        order = [(job, (await client.submit(job.job_type, job.payload))["job_id"]) for job in JOBS]
        async with trio.open_nursery() as nursery:
            for job, job_id in order:
                nursery.start_soon(one, job, job_id)
    async with Rest(network.gateway, network.node.token) as rest:
        node = await rest.call("GET", "/nodes/me")
    return Demo(
        jobs=tuple(jobs[job_id] for _, job_id in order),
        node={"id": node["node_id"], "status": node["status"], "earned": node["balance_ucr"] / UCR_PER_CREDIT},
        outputs=tuple(sorted(outputs)),
        complaints=tuple(complaints),
        address=f"{network.gateway}/",
    )


def _summary(state: Json) -> Json:
    last = state["attempts"][-1] if state["attempts"] else None
    sandbox = (last and last["sandbox"]) or {"tier": "", "enforced": []}
    return {
        "job_id": state["job_id"],
        "job_type": state["job_type"],
        "status": state["status"],
        "attempts": len(state["attempts"]),
        "credits": state["credited_ucr"] / UCR_PER_CREDIT,
        "queued_s": state["queued_s"],
        "running_s": state["running_s"],
        "sandbox": {"tier": sandbox["tier"], "enforced": sandbox["enforced"]},
    }

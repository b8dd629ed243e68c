"""Whatever a plugin does, the job ends with a reason and the node goes on."""

from __future__ import annotations

import pytest
import trio

from edgeagent.rest import Rest
from edgeagent.wire.units import UCR_PER_CREDIT

LIMIT_S = 300.0

#: Job type -> (what its execute does, what the job's error has to say).
BAD = {
    "raises": ("raise ValueError('no such scene')", "ValueError: no such scene"),
    "exits": ("os._exit(3)", "exited with code 3"),
    "sysexits": ("sys.exit(7)", "7"),
    "crashes": ("os.kill(os.getpid(), 11)", "SIGSEGV"),
    "returns": ("return {'success': True}", "WorkerResult"),
    "nojson": ("return WorkerResult(success=True, value={1, 2})", "JSON"),
    "huge": ("return WorkerResult(success=True, value='x' * 10_000_000)", "over the limit"),
    "says_no": ("return WorkerResult(success=False, error='the scene is empty')", "the scene is empty"),
    "prints": ("while True: print('x' * 1000)", "output"),
    "hoards": ("x = bytearray(64 << 30)", "memory"),
    "sleeps": ("time.sleep(600)", "wall"),
    "syntax": ("return WorkerResult(success=True) if 1 else", ""),
}


@pytest.mark.needs("sandbox")
async def test_each_bad_plugin_fails_its_job_and_the_node_goes_on(network) -> None:
    """Raise, exit, crash, hang, print for ever, return nonsense: FAILED with that reason, then echo completes."""
    bodies = {job_type: body for job_type, (body, _) in BAD.items() if job_type != "syntax"}
    with trio.fail_after(LIMIT_S):
        async with network(syntax=BAD["syntax"][0], **bodies) as session:
            client = session.client
            errors: dict[str, str] = {}

            async def one(job_type: str) -> None:
                job = await client.submit(job_type, {}, {"wall_s": 3.0} if job_type == "sleeps" else None)
                state = await client.wait(job["job_id"])
                assert state["status"] == "FAILED", (job_type, state)
                errors[job_type] = state["error"]

            async with trio.open_nursery() as nursery:
                for job_type in bodies:
                    nursery.start_soon(one, job_type)

            job = await client.submit("echo", {"still": "here"})
            await client.wait(job["job_id"])
            result = await client.result(job["job_id"])

    assert result["value"] == {"still": "here"}
    assert {name: error for name, error in errors.items() if BAD[name][1].lower() not in error.lower()} == {}
    assert not any("Traceback" in error or "\n" in error for error in errors.values())


@pytest.mark.needs("sandbox")
async def test_a_job_that_makes_no_sense_fails_at_once_and_costs_nothing(network) -> None:
    """Out of range, the wrong type, an unknown field: FAILED in the first attempt, nothing paid, the node HEALTHY."""
    bad = [
        ("cpu_benchmark", {"limit": 1}, "2 to 10,000,000"),
        ("cpu_benchmark", {"limit": "many"}, "limit"),
        ("render", {"width": 10**9}, "width"),
        ("inference", {"samples": "none"}, "samples"),
        ("inference", {"colour": "red"}, "colour"),
    ]
    with trio.fail_after(LIMIT_S):
        async with network(capabilities=("render", "inference")) as session:
            ended = []
            for job_type, payload, _ in bad:
                job = await session.client.submit(job_type, payload)
                ended.append(await session.client.wait(job["job_id"]))
            account = await session.client.account()
            async with Rest(session.network.gateway, session.network.node.token) as rest:
                node = await rest.call("GET", "/nodes/me")

    assert [(job["status"], len(job["attempts"])) for job in ended] == [("FAILED", 1)] * len(bad)
    assert [wanted for job, (_, _, wanted) in zip(ended, bad, strict=True) if wanted not in job["error"]] == []
    assert (account["balance_ucr"], account["held_ucr"]) == (1000 * UCR_PER_CREDIT, 0)
    assert (node["status"], node["balance_ucr"]) == ("HEALTHY", 0)

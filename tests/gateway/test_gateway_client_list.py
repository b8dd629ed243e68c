"""``edgeagent job list`` follows the pages of the gateway's list."""

from __future__ import annotations

import json
from functools import partial

import httpx2
import pytest
import trio
from click.testing import CliRunner, Result
from scripted import PortGateway, submit

from edgeagent import client
from edgeagent.cli import main


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), [6, 5, 4, 3, 2, 1, 0]),
        (("--all",), [6, 5, 4, 3, 2, 1, 0]),
        (("--limit", "5"), [6, 5, 4, 3, 2]),
        (("--limit", "3", "--all"), [6, 5, 4, 3, 2, 1, 0]),
        (("--type", "echo", "--limit", "3"), [6, 4, 2]),
        (("--status", "cancelled", "--all"), [6, 5, 3]),
        (("--type", "echo", "--status", "queued", "--all"), [4, 2, 0]),
        (("--status", "failed"), []),
    ],
)
async def test_it_lists_as_many_as_are_asked_for(
    port_gateway: PortGateway, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], wanted: list[int]
) -> None:
    """Over as many pages as that takes, here of two jobs; filters count before the limit does."""
    monkeypatch.setattr(client, "PAGE", 2)
    token = await port_gateway.account()
    await port_gateway.enlist()
    async with port_gateway.http(token) as http:
        ids = [(await submit(http, "render" if number % 2 else "echo"))["job_id"] for number in range(7)]
        await _cancel(http, ids[3], ids[5], ids[6])
    listed = await _list(port_gateway, token, *options, "--json")
    assert listed.exit_code == 0, listed.stderr
    assert [one["job_id"] for one in json.loads(listed.stdout)["jobs"]] == [ids[number] for number in wanted]
    lines = (await _list(port_gateway, token, *options)).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [ids[number] for number in wanted]


async def _cancel(http: httpx2.AsyncClient, *job_ids: str) -> None:
    for job_id in job_ids:
        (await http.post(f"/jobs/{job_id}/cancel")).raise_for_status()


async def _list(gateway: PortGateway, token: str, *options: str) -> Result:
    """Run the command, in a thread because it runs a loop of its own."""
    command = ["job", "--gateway-url", gateway.url, "list", *options]
    run = partial(CliRunner().invoke, main, command, env={"EDGEAGENT_TOKEN": token})
    return await trio.to_thread.run_sync(run)

"""A real node that is away when its held result is decided: it gets its receipt settled when it is back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio
from plugin_files import QUICK
from test_commands import edgeagent

from edgeagent.client import Client
from edgeagent.demo.network import healthy, program
from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.comparisons import TIMINGS, Rule
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.trust import Policy
from edgeagent.gateway.trusting import set_policy
from edgeagent.node import enrol
from edgeagent.node.receipts import book
from edgeagent.wire.units import UCR_PER_CREDIT
from edgeagent.wire.urls import GatewayUrl

pytestmark = pytest.mark.needs("sandbox")
LIMIT_S = 600.0


@asynccontextmanager
async def node(home: Path, gateway: GatewayUrl, token: str) -> AsyncIterator[trio.Process]:
    """Run a node until it is healthy, and for as long as the context is open."""
    environ = {"EDGEAGENT_HOME": str(home), "HEALTH_PORT": "0"}
    async with program("run", log=home.with_suffix(".log"), environ=environ) as running:
        await healthy(gateway, token, running)
        yield running.process


def rows(database: Path, query: str) -> list[int]:
    """Return the rows of a query, of one column; none where there is no such database yet."""
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        return [value for (value,) in opened.execute(query)]


def held(home: Path) -> list[int]:
    """Return of each receipt in a home whether the gateway has not said yet what it pays."""
    return rows(home / book.FILE, "SELECT held FROM receipts ORDER BY seq")


def spooled(home: Path) -> int:
    """Return how many results would be told again."""
    return sum(rows(home / "spool" / "spool.db", "SELECT count(*) FROM attempts"))


async def test_a_node_that_was_away_gets_its_receipt_settled(tmp_path: Path) -> None:
    """Its result is held, it is killed, another node confirms, it is back: without any command the receipt is whole."""
    data, home, other = (tmp_path / name for name in ("gateway", "node", "other"))
    serve = ("gateway", "run", "--data", str(data), "--port", "0", *QUICK)
    with trio.fail_after(LIMIT_S):
        async with program(*serve, log=tmp_path / "gateway.log") as up:
            gateway = GatewayUrl.parse(await up.first_line())
            set_policy(
                GatewaySettings(data_dir=data), "cpu_benchmark", Policy(rule=Rule(ignore=TIMINGS["cpu_benchmark"]))
            )
            token = create_token(data, "demo", 1000 * UCR_PER_CREDIT)
            one = await enrol.register(home, gateway, "one", ("cpu_benchmark",), force=False)
            two = await enrol.register(other, gateway, "two", ("cpu_benchmark",), force=False)
            async with Client(gateway, token) as client:
                async with node(home, gateway, one.token) as process:
                    job = await client.submit("cpu_benchmark", {"limit": 100})
                    while held(home) != [1] or spooled(home):
                        await trio.sleep(0.05)
                    process.kill()
                async with node(other, gateway, two.token):
                    assert "COMPLETED" == (await client.wait(job["job_id"]))["status"]
                assert [1] == held(home)
                async with node(home, gateway, one.token):
                    while held(home) != [0]:
                        await trio.sleep(0.05)
            said = await edgeagent("earnings", "verify", "--json", EDGEAGENT_HOME=str(home))

    verdict = json.loads(said.stdout)
    assert 0 == said.code, said
    assert (1, UCR_PER_CREDIT, UCR_PER_CREDIT, []) == (
        verdict["receipts"],
        verdict["settled_ucr"],
        verdict["earned_ucr"],
        verdict["unpaid"],
    )

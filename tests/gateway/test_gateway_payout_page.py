"""A month's statement on the owner's page: for the owner alone, and nothing in it is taken for markup."""

from __future__ import annotations

import re
from functools import partial

import attrs
import httpx2
import trio
from scripted import PortGateway

from edgeagent.gateway import ledger, payroll
from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import transaction
from edgeagent.gateway.payroll import Order
from edgeagent.gateway.scopes import Scope
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store import standings
from edgeagent.wire.receipts import month_bounds

#: A month that is over, whenever the tests run.
MONTH = "2026-10"


def pay(place: GatewaySettings, node_id: str) -> None:
    """Have a node earn a credit in the month, and pay it."""
    with transaction(place) as now:
        tx = attrs.evolve(now, now=month_bounds(MONTH)[0])
        books.post(tx, ledger.adjustment(ledger.node_account(node_id), 1_000_000, "earned", ""))
        standings.adjust_earned(tx, node_id, 1_000_000)
    payroll.pay(place, Order(month=MONTH, minimum_ucr=1, rail="manual"))


async def log_in(gateway: PortGateway, http: httpx2.AsyncClient) -> None:
    """Begin a session."""
    make = partial(create_token, scopes=frozenset({Scope.ADMIN}))
    token = await trio.to_thread.run_sync(make, gateway.data_dir, "the owner", 0)
    assert (await http.post("/owner/login", data={"token": token})).status_code == 303


async def test_the_owner_reads_the_statements(port_gateway: PortGateway) -> None:
    """From a link on the page; a stranger gets the form to log in with, and a month that was not paid has none."""
    operator = await port_gateway.enlist("<script>alert(1)</script>")
    await trio.to_thread.run_sync(pay, GatewaySettings(data_dir=port_gateway.data_dir), operator.node_id)
    async with port_gateway.http(prefix="") as http:
        assert "Log in" in (await http.get(f"/owner/payouts/{MONTH}")).text
        await log_in(port_gateway, http)
        (link,) = re.findall(r'href="(/owner/payouts/[^"]*)"', (await http.get("/owner")).text)
        page = await http.get(link)
        nothing = await http.get("/owner/payouts/2026-09")

    assert operator.node_id in page.text
    assert "the node has no payout address" in page.text
    assert "<script" not in page.text
    assert "<style" not in page.text  # the policy allows none
    assert page.headers["cache-control"] == "no-store"
    assert nothing.status_code == 404

"""The gateway pays by itself: each month once it is over, what it has missed too, and again where a rail broke."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from click.testing import CliRunner
from scripted import PATIENCE_S, MemoryGateway, on_a_port

from edgeagent.cli import main
from edgeagent.gateway import ledger, payday, payroll
from edgeagent.gateway.config import GatewaySettings, MonthlyPayouts
from edgeagent.gateway.data import transaction
from edgeagent.gateway.payouts import State, months_owed
from edgeagent.gateway.store import Tx, payout_addresses, standings, verification
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store import payouts as stored
from edgeagent.wire.receipts import month_bounds

MONTHLY = MonthlyPayouts(rail="manual", minimum_ucr=1)


async def at_once(call: Callable[[], Any]) -> Any:
    """Call the rail without a thread, in which the virtual clock would run away."""
    return call()


def earn(tx: Tx, node_id: str, reference: str, amount_ucr: int) -> None:
    """Have a node earn something now."""
    books.post(tx, ledger.adjustment(ledger.node_account(node_id), amount_ucr, reference, ""))
    standings.adjust_earned(tx, node_id, amount_ucr)


def set_to(gateway: MemoryGateway, month: str, days: float = 14) -> None:
    """Set the gateway's clock to so many days after a month's beginning."""
    gateway.wall.ahead_s = month_bounds(month)[0] + days * 86400 - trio.current_time()


def states(tx: Tx) -> dict[str, tuple[State, int]]:
    """Return how each month of the only node's stands."""
    return {one.month: (row.state, row.amount_ucr) for one in stored.months(tx) for row in stored.listed(tx, one.month)}


def lines(data_dir: Path) -> dict[str, list[str]]:
    """Return what each file of instructions pays."""
    files = sorted((data_dir / "payouts").iterdir())
    return {file.name: [row["credits"] for row in csv.DictReader(file.read_text().splitlines())] for file in files}


async def owed(gateway: MemoryGateway, *months: str) -> str:
    """Register a node that earns a credit in each of these months, and return its id."""
    node_id = (await gateway.enlist()).node_id
    await gateway.hub.store.write(payout_addresses.change, node_id, "bank")
    for month in months:
        set_to(gateway, month)
        await gateway.hub.store.write(earn, node_id, month, 1_000_000)
    return node_id


async def test_a_month_is_paid_once_it_is_over(autojump_clock: object, memory_gateway: MemoryGateway) -> None:
    """Rather, at the first look after its end."""
    await owed(memory_gateway, "2026-10")
    set_to(memory_gateway, "2026-10", 31 - 5 / 86400)
    store = memory_gateway.hub.store
    async with trio.open_nursery() as nursery:
        nursery.start_soon(payday.run, memory_gateway.hub, MONTHLY, at_once, 1.0)
        await trio.sleep(4)
        assert await store.read(states) == {}

        await trio.sleep(3)
        assert await store.read(states) == {"2026-10": (State.INSTRUCTED, 1_000_000)}
        nursery.cancel_scope.cancel()

    assert lines(memory_gateway.hub.settings.data_dir) == {"2026-10.csv": ["1"]}
    assert (await store.read(verification.verify)).wrong == ()


async def test_months_that_were_missed_are_made_up_for(autojump_clock: object, memory_gateway: MemoryGateway) -> None:
    """Each on its own, after one that was paid; over the turn of a year."""
    hub = memory_gateway.hub
    rail = payroll.make_rail(hub.settings, "manual")
    set_to(memory_gateway, "2026-11")
    await payday.look(hub, MONTHLY, rail, at_once)
    await owed(memory_gateway, "2026-11", "2026-12", "2027-01", "2027-02")

    reports = await payday.look(hub, MONTHLY, rail, at_once)

    assert [report.month.month for report in reports] == ["2026-11", "2026-12", "2027-01"]
    assert lines(hub.settings.data_dir) == {f"{month}.csv": ["1"] for month in ("2026-11", "2026-12", "2027-01")}
    assert await payday.look(hub, MONTHLY, rail, at_once) == []


async def test_a_rail_that_broke_is_asked_again(autojump_clock: object, memory_gateway: MemoryGateway) -> None:
    """At the next look."""
    await owed(memory_gateway, "2026-10")
    set_to(memory_gateway, "2026-11")
    folder = memory_gateway.hub.settings.data_dir / "payouts"
    folder.write_text("in the way")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(payday.run, memory_gateway.hub, MONTHLY, at_once, 3.0)
        await trio.sleep(1)
        assert await memory_gateway.hub.store.read(states) == {"2026-10": (State.DUE, 1_000_000)}

        folder.unlink()
        await trio.sleep(3)
        assert await memory_gateway.hub.store.read(states) == {"2026-10": (State.INSTRUCTED, 1_000_000)}
        nursery.cancel_scope.cancel()


async def test_the_owners_command_goes_first(autojump_clock: object, memory_gateway: MemoryGateway) -> None:
    """While it runs the gateway tells no rail anything."""
    await owed(memory_gateway, "2026-10")
    set_to(memory_gateway, "2026-11")
    hub = memory_gateway.hub
    rail = payroll.make_rail(hub.settings, "manual")

    with payroll.alone(hub.settings.data_dir, wait=True):
        assert await payday.look(hub, MONTHLY, rail, at_once) == []

    assert len(await payday.look(hub, MONTHLY, rail, at_once)) == 1


async def test_a_gateway_that_is_told_to_pays_when_it_starts(tmp_path: Path) -> None:
    """With the rail in a thread, and everything real; the last month is over, whenever that is."""
    place = GatewaySettings(data_dir=tmp_path)
    async with on_a_port(tmp_path, monthly_payouts=MONTHLY):
        with trio.fail_after(PATIENCE_S):
            while await trio.to_thread.run_sync(_last_done, place) is None:  # noqa: ASYNC110
                await trio.sleep(0.05)


def _last_done(place: GatewaySettings) -> str | None:
    with transaction(place) as tx:
        done = stored.last_done(tx)
        assert done is None or months_owed(done, tx.now) == []
        return done


def test_a_rail_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    """Exit code 2, and no gateway."""
    command = ["gateway", "run", "--data", str(tmp_path), "--monthly-payouts", "pigeon"]

    refused = CliRunner().invoke(main, command)

    assert (refused.exit_code, "there is no rail 'pigeon'; installed are: " in refused.stderr) == (2, True)

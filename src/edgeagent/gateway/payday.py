"""The gateway pays by itself: every month that is over, once it is over, and what it has missed while it was down.

Looks now and then whether a month is owed, by the clock that the books are kept by.  A rail that breaks is asked again
at a later look; the owner's command does the same by hand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio

from edgeagent.errors import EdgeAgentError
from edgeagent.gateway import payouts, payroll
from edgeagent.gateway.config import MonthlyPayouts
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.payroll import Ask, Order, Report
from edgeagent.gateway.rails import Rail
from edgeagent.gateway.store import StoreUnavailableError, Tx
from edgeagent.gateway.store import payouts as stored

log = structlog.get_logger()

#: Seconds between two looks: a month is paid within the first hour after it.
LOOK_S = 3600.0
#: Whom the audit log names.
ACTOR = "gateway"

Call = Callable[[Callable[[], Any]], Awaitable[Any]]


async def run(hub: Hub, monthly: MonthlyPayouts, call: Call = trio.to_thread.run_sync, look_s: float = LOOK_S) -> None:
    """Pay until cancelled.

    Args:
        call: runs the rail, which may block.
        look_s: seconds between two looks.
    """
    rail = payroll.make_rail(hub.settings, monthly.rail)
    while True:
        try:
            for report in await look(hub, monthly, rail, call):
                log.info("Month paid", month=report.month.month, payments=report.told)
                if report.fault is not None:
                    log.warning("The rail did not get to the end; it is asked again", reason=report.fault)
        except (StoreUnavailableError, EdgeAgentError) as error:
            log.warning("Payouts wait", reason=str(error))
        await trio.sleep(look_s)


async def look(hub: Hub, monthly: MonthlyPayouts, rail: Rail, call: Call) -> list[Report]:
    """Pay the months that are owed now, oldest first; none while the owner's command runs."""
    owed = await hub.store.read(_owed)
    if not owed:
        return []
    with payroll.alone(hub.settings.data_dir, wait=False) as free:
        if not free:
            return []
        orders = [Order(month=month, minimum_ucr=monthly.minimum_ucr, rail=monthly.rail) for month in owed]
        return [await _pay(hub, order, rail, call) for order in orders]


async def _pay(hub: Hub, order: Order, rail: Rail, call: Call) -> Report:
    running = payroll.steps(order, rail, ACTOR)
    came: Any = None
    while True:
        try:
            step = running.send(came)
        except StopIteration as end:
            report: Report = end.value
            return report
        came = await call(step.call) if isinstance(step, Ask) else await hub.store.write(step.work)


def _owed(tx: Tx) -> list[str]:
    """Return the months that were not gone through, and those with payments that no rail has answered for."""
    return sorted({*payouts.months_owed(stored.last_done(tx), tx.now), *stored.months_due(tx)})

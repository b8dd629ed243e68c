"""What the owner does with payouts beside running them: look at them, confirm them, give up on them, hand them out.

See ``gateway.data`` for why that needs no running gateway.  Whatever changes something is in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import statements
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import owner, reading, transaction
from edgeagent.gateway.payouts import State, payment_id
from edgeagent.gateway.store import Tx, audit, orders
from edgeagent.gateway.store import payouts as stored
from edgeagent.gateway.store.payouts import Month, NotSoError, Payout
from edgeagent.wire.receipts import month_bounds


def months(place: GatewaySettings) -> list[Month]:
    """Return every month that was paid, or begun, oldest first.  Raises as ``data.reading``."""
    with reading(place) as tx:
        return stored.months(tx)


def show(place: GatewaySettings, month: str, state: State | None) -> list[Payout]:
    """Return a month's payouts, or those in one state.

    Raises:
        UsageError: not a month.
        EdgeAgentError: as ``data.reading``.
    """
    with reading(place) as tx:
        return list(stored.listed(tx, _month(month), state))


def confirm(place: GatewaySettings, month: str, node: str, reference: str) -> bool:
    """Store that a node was paid for a month; return whether that is new.

    Raises:
        UsageError: not a month, or not a reference.
        EdgeAgentError: there is no such node or payment, or it is in no state to be paid.
    """
    if not (0 < len(reference) <= 150 and reference.isprintable() and reference.strip()):
        raise UsageError("a reference has 1 to 150 printable characters: like the bank's number of the transfer")

    def change(tx: Tx, node_id: str) -> bool:
        return stored.confirm(tx, month, node_id, reference)

    return _change(place, month, node, "payout.confirm", reference, change)


def fail(place: GatewaySettings, month: str, node: str, why: str) -> bool:
    """Store that a node could not be paid for a month, and give it its credits back; return whether that is new.

    Raises as ``confirm``.
    """
    if not (0 < len(why) <= 200 and why.isprintable() and why.strip()):
        raise UsageError("a reason has 1 to 200 printable characters")

    def change(tx: Tx, node_id: str) -> bool:
        return stored.fail(tx, month, node_id, why)

    return _change(place, month, node, "payout.fail", why, change)


def statement(place: GatewaySettings, month: str, kind: str, out: TextIO) -> None:
    """Write a month's statement to ``out``, as ``csv``, ``json`` or ``html`` (``gateway.statements``).

    Raises:
        UsageError: not a month.
        EdgeAgentError: as ``data.reading``, or the month has no payouts.
    """
    with reading(place) as tx:
        found = stored.months(tx, _month(month))
        if not found:
            raise EdgeAgentError(f"{month} was not paid yet; run: edgeagent gateway payouts run --month {month}")
        for text in statements.FORMATS[kind](found[0], stored.listed(tx, month), tx.now):
            out.write(text)


def _change(
    place: GatewaySettings, month: str, node: str, action: str, detail: str, change: Callable[[Tx, str], bool]
) -> bool:
    _month(month)
    with transaction(place) as tx, _refusals(month, node):
        node_id = orders.find(tx, node)
        new = change(tx, node_id)
        if new:
            audit.record(tx, owner(), action, payment_id(month, node_id), detail)
        return new


@contextmanager
def _refusals(month: str, node: str) -> Iterator[None]:
    try:
        yield
    except LookupError as error:
        raise EdgeAgentError(f"{error.args[0]}; see: edgeagent gateway payouts show {month}") from None
    except NotSoError as error:
        raise EdgeAgentError(f"the payout of {month} to {node} is not changed: {error}") from None


def _month(text: str) -> str:
    try:
        month_bounds(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return text

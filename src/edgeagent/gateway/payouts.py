"""Payouts as decisions: what a node is owed for a month, whether it is paid now, and how a payment may go on.  Pure.

A month is paid when it is over: all that was posted to the node until its end, less what was paid out before, and never
more than is there now.  So months may be paid late, in any order, and what one does not pay the next one does.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime

import attrs

from edgeagent.wire.receipts import month_bounds, month_of
from edgeagent.wire.units import format_credits


class State(enum.StrEnum):
    """How a month of a node's stands.  Only of the last four the books have an entry."""

    CARRIED = "carried"  # too little to be paid; a later month pays it
    HELD = "held"  # there is nowhere to pay it to; a later month, or the same month's next run, pays it
    DUE = "due"  # out of the node's account; nobody was told to pay it yet
    INSTRUCTED = "instructed"  # somebody was told to pay it
    PAID = "paid"
    FAILED = "failed"  # it could not be paid, and is back in the node's account


#: States in which nothing was posted.
WAITING = frozenset({State.CARRIED, State.HELD})
#: How a payment goes on once it is posted.
TRANSITIONS = {
    State.DUE: frozenset({State.INSTRUCTED, State.PAID, State.FAILED}),
    State.INSTRUCTED: frozenset({State.PAID, State.FAILED}),
    State.PAID: frozenset[State](),
    State.FAILED: frozenset[State](),
}


class MonthNotOverError(Exception):
    """A month that has not ended cannot be paid."""


@attrs.frozen(kw_only=True)
class Owed:
    """What a node has, and of that, what it was posted after the month's end; payouts are not counted there."""

    balance_ucr: int
    later_ucr: int
    address: str | None
    revoked: bool = False


@attrs.frozen
class Decision:
    """What becomes of a node's month, and why, where it is not paid."""

    state: State
    amount_ucr: int
    why: str = ""


def payable_ucr(balance_ucr: int, later_ucr: int) -> int:
    """Return what is owed until a month's end.

    Args:
        balance_ucr: what the node has now: all that was ever posted to it, less what was paid out.
        later_ucr: what was posted since the month's end, payouts apart; negative where refunds took it away.
    """
    return max(0, min(balance_ucr, balance_ucr - later_ucr))


def decide(owed: Owed, minimum_ucr: int) -> Decision | None:
    """Return what becomes of a node's month; None where nothing is owed."""
    amount = payable_ucr(owed.balance_ucr, owed.later_ucr)
    if amount == 0:
        return None
    if owed.revoked:
        return Decision(State.HELD, amount, "the node was revoked")
    if amount < minimum_ucr:
        return Decision(State.CARRIED, amount, f"less than {format_credits(minimum_ucr)} credits")
    if owed.address is None:
        return Decision(State.HELD, amount, "the node has no payout address")
    return Decision(State.DUE, amount)


def month_end(month: str, now: float) -> float:
    """Return when a month ended, in seconds since the epoch.

    Raises:
        ValueError: not a month like ``2026-10``.
        MonthNotOverError: it ends after ``now``.
    """
    end = month_bounds(month)[1]
    if now < end:
        day = datetime.fromtimestamp(end, UTC).date()
        raise MonthNotOverError(f"{month} is not over; it can be paid from {day} on, 00:00 UTC")
    return end


def months_owed(done: str | None, now: float) -> list[str]:
    """Return the months that are to be paid at ``now``, oldest first.

    Args:
        done: the last month that was gone through.  Without one, the last that ended is enough: it pays all before it.
    """
    month = month_of(month_bounds(month_of(now))[0] - 1)
    if done is None:
        return [month]
    owed: list[str] = []
    while month > done:
        owed.insert(0, month)
        month = month_of(month_bounds(month)[0] - 1)
    return owed


def payment_id(month: str, node_id: str) -> str:
    """Return what a payment is known by, in the books and to a rail: there is one for a node and a month."""
    return f"{month} {node_id}"

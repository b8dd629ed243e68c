"""What a node is owed for a month: decided from sums alone, whatever happens in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway import payouts
from edgeagent.gateway.payouts import Decision, MonthNotOverError, Owed, State
from edgeagent.wire.receipts import month_bounds

#: Postings to a node, by the month of each, of which none takes the balance below zero.
POSTINGS = st.lists(st.tuples(st.integers(0, 4), st.integers(-30, 60)), max_size=30)


def owed(balance: int, later: int = 0, address: str | None = "bank", *, revoked: bool = False) -> Owed:
    """What a node has."""
    return Owed(balance_ucr=balance, later_ucr=later, address=address, revoked=revoked)


@pytest.mark.parametrize(
    ("standing", "decision"),
    [
        (owed(10), Decision(State.DUE, 10)),
        (owed(10, 4), Decision(State.DUE, 6)),
        (owed(10, -4), Decision(State.DUE, 10)),
        (owed(10, 12), None),
        (owed(0), None),
        (owed(4), Decision(State.CARRIED, 4, "less than 0.000005 credits")),
        (owed(10, address=None), Decision(State.HELD, 10, "the node has no payout address")),
        (owed(10, revoked=True), Decision(State.HELD, 10, "the node was revoked")),
    ],
)
def test_a_month_is_paid_carried_or_held(standing: Owed, decision: Decision | None) -> None:
    """What was earned after its end stays; what was taken away since is not paid twice."""
    assert decision == payouts.decide(standing, minimum_ucr=5)


@given(POSTINGS, st.permutations(range(5)), st.integers(0, 40))
def test_paying_every_month_in_any_order_pays_everything_once(
    postings: list[tuple[int, int]], order: list[int], minimum: int
) -> None:
    """Nobody goes below zero, and what is left is less than the minimum."""
    posted: list[tuple[int, int]] = []
    balance = 0
    for month, amount in sorted(postings):
        if balance + amount >= 0:
            posted.append((month, amount))
            balance += amount
    total = balance
    for month in [*order, 4]:  # the last one once more: it pays what the others have carried over
        later = sum(amount for when, amount in posted if when > month)
        decision = payouts.decide(owed(balance, later), minimum)
        if decision is not None and decision.state is State.DUE:
            assert decision.amount_ucr <= balance
            balance -= decision.amount_ucr

    assert 0 <= balance <= total
    assert balance == 0 or balance < minimum


@given(POSTINGS)
def test_months_partition_the_entries(postings: list[tuple[int, int]]) -> None:
    """Paid as they end, the months' payouts are the months' postings, where none is negative."""
    postings = [(month, abs(amount)) for month, amount in postings]
    balance, paid = 0, dict[int, int]()
    for month in range(5):
        balance += sum(amount for when, amount in postings if when == month)
        paid[month] = payouts.payable_ucr(balance, 0)
        balance -= paid[month]

    assert paid == {month: sum(amount for when, amount in postings if when == month) for month in range(5)}


def test_a_month_that_goes_on_is_refused() -> None:
    """To the second, and with the day from which on it can be paid."""
    end = month_bounds("2026-12")[1]

    assert end == payouts.month_end("2026-12", end)
    with pytest.raises(MonthNotOverError, match=r"^2026-12 is not over; it can be paid from 2027-01-01 on"):
        payouts.month_end("2026-12", end - 1)


@pytest.mark.parametrize(
    ("done", "owed_months"),
    [
        (None, ["2027-01"]),
        ("2027-01", []),
        ("2026-12", ["2027-01"]),
        ("2026-10", ["2026-11", "2026-12", "2027-01"]),
        ("2027-06", []),
    ],
)
def test_every_month_since_the_last_one_is_owed(done: str | None, owed_months: list[str]) -> None:
    """Over the turn of a year too; the first run ever pays all before it in one; a clock set back owes nothing."""
    now = month_bounds("2027-02")[0]

    assert owed_months == payouts.months_owed(done, now)
    assert owed_months == payouts.months_owed(done, month_bounds("2027-02")[1] - 1)

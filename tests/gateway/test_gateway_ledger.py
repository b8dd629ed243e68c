"""The books: balanced, never overdrawn, chained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway import ledger
from edgeagent.gateway.ledger import ISSUER, CreditsShortError, Entry, Kind, Posting
from edgeagent.wire.units import UCR_PER_CREDIT

AMOUNTS = st.integers(1, 10**12)
ENTRIES = st.one_of(
    st.builds(ledger.grant, st.sampled_from("ab"), AMOUNTS),
    st.builds(ledger.hold, st.sampled_from("ab"), st.just("job"), AMOUNTS),
    st.builds(
        lambda who, paid, price, spare: ledger.settle(who, "job", paid, price, price * len(paid) + spare),
        st.sampled_from("ab"),
        st.sampled_from(["x", "y", "xy"]),
        AMOUNTS,
        st.just(0) | AMOUNTS,
    ),
    st.builds(ledger.release, st.sampled_from("ab"), st.just("job"), AMOUNTS),
    st.builds(
        ledger.refund,
        st.sampled_from("ab"),
        st.just("job"),
        AMOUNTS.map(lambda ucr: 2 * ucr),
        st.sampled_from(["", "x", "xy"]),
    ),
    st.builds(ledger.payout, st.just("2026-10"), st.sampled_from("xy"), AMOUNTS),
    st.builds(ledger.adjustment, st.sampled_from(["node:x", "submitter:a"]), AMOUNTS, st.just("r"), st.just("why")),
    st.builds(ledger.adjustment, st.just("node:x"), AMOUNTS.map(lambda amount: -amount), st.just("r"), st.just("why")),
)


@pytest.mark.parametrize(
    ("job_type", "credits"), [("render", 10), ("inference", 5), ("cpu_benchmark", 1), ("echo", 0), ("anything", 1)]
)
def test_prices_are_the_operator_guides(job_type: str, credits: int) -> None:  # noqa: A002
    """Render 10, inference 5, cpu_benchmark 1, echo 0, anything else 1."""
    assert credits * UCR_PER_CREDIT == ledger.price_ucr(job_type)


@given(ENTRIES)
def test_every_entry_sums_to_zero(entry: Entry) -> None:
    """Credits are moved, never made."""
    assert sum(posting.amount_ucr for posting in entry.postings) == 0


@given(st.lists(ENTRIES, max_size=40))
def test_no_balance_goes_negative_and_all_sum_to_zero(entries: list[Entry]) -> None:
    """Whatever is posted in whatever order: what cannot be paid is refused and changes nothing."""
    balances: dict[str, int] = {}
    for entry in entries:
        try:
            balances |= ledger.apply(balances, entry)
        except CreditsShortError:
            continue

    assert all(balance >= 0 for account, balance in balances.items() if account != ISSUER)
    assert sum(balances.values()) == 0


@given(st.lists(ENTRIES, max_size=40), st.data())
def test_any_part_of_the_books_gives_the_same_balances(entries: list[Entry], data: st.DataObject) -> None:
    """Replaying a prefix and then the rest ends where replaying everything does, and each posting counts once."""
    posted, balances = [], dict[str, int]()
    for entry in entries:
        try:
            balances |= ledger.apply(balances, entry)
        except CreditsShortError:
            continue
        posted.append(entry)
    cut = data.draw(st.integers(0, len(posted)))

    again: dict[str, int] = {}
    for part in (posted[:cut], posted[cut:]):
        for entry in part:
            again |= ledger.apply(again, entry)

    assert again == balances
    for account, balance in balances.items():
        assert balance == sum(one.amount_ucr for entry in posted for one in entry.postings if one.account == account)


def test_a_price_that_the_owner_set_comes_before_the_guides() -> None:
    """``*`` is for types that have no price of their own, from whomever."""
    changed = {"render": 3, "*": 7}

    assert [ledger.price_ucr(one, changed) for one in ("render", "inference", "anything")] == [3, 5_000_000, 7]


@pytest.mark.parametrize(
    "postings",
    [
        (Posting("a", 1), Posting("b", -2)),
        (Posting("a", 1),),
        (Posting("a", 1), Posting("a", -1)),
        (Posting("a", 0), Posting("b", 0)),
    ],
)
def test_an_entry_that_does_not_balance_cannot_be_made(postings: tuple[Posting, ...]) -> None:
    """Nor one that posts twice to an account, or nothing."""
    with pytest.raises(ValueError, match="entry"):
        Entry(Kind.GRANT, "", postings)


def test_short_credits_are_said_in_credits() -> None:
    """The person reads how much is needed and how much is there."""
    with pytest.raises(CreditsShortError, match=r"^10 credits are needed and 2\.5 are there$"):
        ledger.apply({"submitter:a": 2_500_000}, ledger.hold("a", "job", 10 * UCR_PER_CREDIT))


@given(st.text(), ENTRIES, ENTRIES, st.floats(0, 2e9), st.floats(0, 2e9))
def test_the_chain_hash_tells_every_difference(previous: str, one: Entry, other: Entry, at: float, then: float) -> None:
    """Another entry, another time or another past gives another hash."""
    same = (one, at) == (other, then)

    assert same == (ledger.chain_hash(previous, one, at) == ledger.chain_hash(previous, other, then))
    assert ledger.chain_hash(previous, one, at) != ledger.chain_hash(previous + "x", one, at)

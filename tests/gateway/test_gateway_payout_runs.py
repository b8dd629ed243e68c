"""Paying months on a real database: once each, whatever comes in between, and the books always hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from owed_nodes import CREDIT, Network, Teller, make_network

from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.payouts import MonthNotOverError, State
from edgeagent.gateway.rails import Batch, Outcome
from edgeagent.gateway.store import payout_addresses
from edgeagent.gateway.store import payouts as stored
from edgeagent.gateway.store.engine import Database
from edgeagent.gateway.store.payouts import NotSoError
from edgeagent.gateway.store.writer import MAX_TOGETHER


@pytest.fixture
def network(database: Database, tmp_path: Path) -> Iterator[Network]:
    """An empty network."""
    made = make_network(GatewaySettings(data_dir=tmp_path, postgres=None if isinstance(database, Path) else database))
    yield made
    made.engine.dispose()


def test_a_month_is_paid_to_whom_it_concerns(network: Network) -> None:
    """What was earned since its end stays; small sums and those without an address wait, and it is said why."""
    rich, poor, homeless = network.add("rich"), network.add("poor"), network.add("homeless", None)
    network.add("idle")
    network.at("2026-10")
    for node_id, amount in ((rich, 7 * CREDIT), (poor, CREDIT // 2), (homeless, 3 * CREDIT)):
        network.earn(node_id, amount)
    network.at("2026-11")
    network.earn(rich, 2 * CREDIT)
    teller = Teller()

    report = network.pay(teller)

    assert network.states() == {
        "rich": (State.PAID, 7 * CREDIT),
        "poor": (State.CARRIED, CREDIT // 2),
        "homeless": (State.HELD, 3 * CREDIT),
    }
    assert teller.paid == {f"2026-10 {rich}": 7 * CREDIT}
    assert (report.told, report.fault, report.month.done_at) == (1, None, network.now)
    assert network.balance(rich) == 2 * CREDIT
    assert network.wrong() == ()


def test_the_same_run_again_pays_nobody(network: Network) -> None:
    """Nor does it ask the rail."""
    node_id = network.add("one")
    network.at("2026-10")
    network.earn(node_id, 7 * CREDIT)
    network.at("2026-11")
    network.pay(Teller())
    again = Teller()

    assert network.pay(again).told == 0

    assert again.paid == {}
    assert network.balance(node_id) == 0


def test_what_waits_is_paid_when_it_can_be(network: Network) -> None:
    """The same month again once there is an address; the next month what was too little."""
    homeless, poor = network.add("homeless", None), network.add("poor")
    network.at("2026-10")
    network.earn(homeless, 3 * CREDIT)
    network.earn(poor, CREDIT // 2)
    network.at("2026-11")
    network.pay(Teller())
    network.earn(poor, CREDIT // 2)
    with network.transaction() as tx:
        assert payout_addresses.change(tx, homeless, "shed")
    teller = Teller()

    network.pay(teller)
    network.at("2026-12")
    network.pay(teller, "2026-11")

    assert teller.paid == {f"2026-10 {homeless}": 3 * CREDIT, f"2026-11 {poor}": CREDIT}
    assert network.states()["poor"] == (State.CARRIED, CREDIT // 2)
    assert network.wrong() == ()


def test_months_may_be_paid_late_and_out_of_order(network: Network) -> None:
    """The later one pays the earlier one too, which then has nothing left to pay."""
    node_id = network.add("one")
    for month in ("2026-09", "2026-10", "2026-11"):
        network.at(month)
        network.earn(node_id, 2 * CREDIT)
    network.at("2026-12")
    teller = Teller()

    for month in ("2026-10", "2026-09", "2026-11"):
        network.pay(teller, month)

    assert teller.paid == {f"2026-10 {node_id}": 4 * CREDIT, f"2026-11 {node_id}": 2 * CREDIT}
    assert network.balance(node_id) == 0


def test_what_was_taken_away_since_is_not_paid(network: Network) -> None:
    """A correction after the month's end counts at once."""
    node_id = network.add("one")
    network.at("2026-10")
    network.earn(node_id, 5 * CREDIT)
    network.at("2026-11")
    network.earn(node_id, -3 * CREDIT)
    teller = Teller()

    network.pay(teller)

    assert teller.paid == {f"2026-10 {node_id}": 2 * CREDIT}
    assert network.balance(node_id) == 0
    assert network.wrong() == ()


def test_a_month_that_has_not_ended_is_not_paid(network: Network) -> None:
    """Not even begun."""
    network.earn(network.add("one"), CREDIT)
    network.at("2026-10", 31)

    with pytest.raises(MonthNotOverError):
        network.pay(Teller())

    assert network.states() == {}


def test_more_nodes_than_one_transaction_takes_are_all_paid(network: Network) -> None:
    """And a run that ended after the first of them is gone on with."""
    names = [f"n{number}" for number in range(MAX_TOGETHER + 3)]
    network.at("2026-10")
    for name in names:
        network.earn(network.add(name), CREDIT)
    network.at("2026-11")
    network.pay(Teller(), steps=1)
    assert len(network.states()) == MAX_TOGETHER
    teller = Teller()

    network.pay(teller)

    assert len(teller.paid) == len(names)
    assert {state for state, _ in network.states().values()} == {State.PAID}
    assert network.wrong() == ()


def test_a_rail_that_breaks_leaves_the_rest_due(network: Network) -> None:
    """What it has said counts; the next run asks for the others, under the same ids."""
    network.at("2026-10")
    for name in ("one", "two", "three"):
        network.earn(network.add(name), CREDIT)
    network.at("2026-11")
    teller = Teller(breaks_after=1)

    report = network.pay(teller)
    assert report.fault == "ConnectionResetError: the bank hung up"
    assert [state for state, _ in network.states().values()] == [State.PAID, State.DUE, State.DUE]

    teller.breaks_after = None
    assert network.pay(teller).told == 2
    assert len(teller.paid) == 3
    assert network.wrong() == ()


def test_a_payment_that_failed_goes_back_to_the_node(network: Network) -> None:
    """The month is over with; the next one pays it."""
    node_id = network.add("one")
    network.at("2026-10")
    network.earn(node_id, 5 * CREDIT)
    network.at("2026-11")
    network.pay(Teller(refuses="one"))
    assert network.states() == {"one": (State.FAILED, 5 * CREDIT)}
    assert network.balance(node_id) == 5 * CREDIT
    assert network.wrong() == ()
    teller = Teller()

    network.pay(teller)
    network.at("2026-12")
    network.pay(teller, "2026-11")

    assert teller.paid == {f"2026-11 {node_id}": 5 * CREDIT}
    assert network.balance(node_id) == 0
    assert network.wrong() == ()


class Clerk:
    """A rail that has somebody else pay, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def instruct(self, batch: Batch) -> Iterable[Outcome]:
        """Hand it over."""
        self.batches.append(batch)
        return [Outcome(payment_id=one.payment_id, state=State.INSTRUCTED) for one in batch.payments]


def test_a_batch_that_was_handed_over_gets_nothing_more(network: Network) -> None:
    """One that was not handed over is the same again, and takes in what has come since."""
    network.at("2026-10")
    first, second = network.add("first"), network.add("second", None)
    third = network.add("third", None)
    for node_id in (first, second, third):
        network.earn(node_id, CREDIT)
    network.at("2026-11")
    clerk = Clerk()
    network.pay(clerk, steps=2)  # not to the rail
    for node_id in (second, third):
        with network.transaction() as tx:
            payout_addresses.change(tx, node_id, "bank")
        network.pay(clerk)

    assert [(one.number, [each.name for each in one.payments]) for one in clerk.batches] == [
        (1, ["first", "second"]),
        (2, ["third"]),
    ]


def test_a_payment_is_confirmed_once(network: Network) -> None:
    """The same reference again changes nothing, another one is refused, and what was paid does not fail."""
    node_id = network.add("one")
    network.at("2026-10")
    network.earn(node_id, CREDIT)
    network.at("2026-11")
    network.pay(Clerk())

    with network.transaction() as tx:
        assert stored.confirm(tx, "2026-10", node_id, "transfer 9")
        assert not stored.confirm(tx, "2026-10", node_id, "transfer 9")
        with pytest.raises(NotSoError, match="paid before, with the reference 'transfer 9'"):
            stored.confirm(tx, "2026-10", node_id, "transfer 10")
        with pytest.raises(NotSoError, match="it is paid"):
            stored.fail(tx, "2026-10", node_id, "late")
        with pytest.raises(LookupError, match="no payout of 2026-09"):
            stored.confirm(tx, "2026-09", node_id, "transfer 9")
    assert network.states() == {"one": (State.PAID, CREDIT)}


@pytest.mark.parametrize("earned", [CREDIT // 2, 0])
def test_what_was_not_paid_cannot_be_confirmed(network: Network, earned: int) -> None:
    """Neither what was carried over nor what was never owed."""
    node_id = network.add("one")
    network.at("2026-10")
    if earned:
        network.earn(node_id, earned)
    network.at("2026-11")
    network.pay(Clerk())

    with network.transaction() as tx, pytest.raises((NotSoError, LookupError)):
        stored.confirm(tx, "2026-10", node_id, "transfer 9")


def test_a_revoked_node_is_held(network: Network) -> None:
    """Until its owner has decided what becomes of its credits."""
    network.at("2026-10")
    network.earn(network.add("one"), CREDIT)
    with network.transaction() as tx:
        tx.connection.exec_driver_sql("UPDATE nodes SET state = 'REVOKED'")
    network.at("2026-11")

    network.pay(Teller())

    assert network.states() == {"one": (State.HELD, CREDIT)}

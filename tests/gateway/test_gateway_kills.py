"""Settlement and payout die at each statement in turn: the books hold, and done again it is done exactly once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import killed_at
from owed_nodes import CREDIT, Network, Teller, make_network

from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.payouts import State
from edgeagent.gateway.store import Tx, accounts, jobs, queue, submissions, views
from edgeagent.gateway.store.engine import Database
from edgeagent.gateway.store.flights import Flight, Start, Told
from edgeagent.gateway.store.submissions import New
from edgeagent.wire.messages import JobResult, Outcome
from edgeagent.wire.receipts import month_of

#: Far more statements than there are: a test that never comes to the end fails.
MANY = 200


@pytest.fixture
def network(database: Database, tmp_path: Path) -> Iterator[Network]:
    """An empty network."""
    made = make_network(GatewaySettings(data_dir=tmp_path, postgres=None if isinstance(database, Path) else database))
    yield made
    made.engine.dispose()


def test_a_payout_run_may_die_anywhere(network: Network) -> None:
    """Each month it dies one statement later, with payments of every sort; the bank has paid each of them once."""
    ids = {name: network.add(name) for name in ("carried", "refused", "new")}
    teller, names = Teller(refuses="refused"), []
    for number in itertools.count(1):
        month = month_of(network.now)
        network.earn(ids["carried"], CREDIT)
        _to_next_month(network)
        network.pay(teller, month, minimum_ucr=100 * CREDIT)  # makes a row that the killed run takes up
        network.now -= 86400 * 20
        for name in ("refused", "new"):
            network.earn(ids[name], CREDIT)
        network.now += 86400 * 20

        with killed_at(network.engine, number) as reached:
            network.pay(teller, month)
        assert network.wrong() == (), number
        network.pay(teller, month)

        names.append(month)
        states = network.states(month)
        assert states["new"] == states["carried"] == (State.PAID, CREDIT), number
        assert states["refused"][0] is State.FAILED
        assert network.wrong() == (), number
        if not reached():
            break
        assert number < MANY
    assert number > 20
    assert teller.paid == {f"{month} {ids[name]}": CREDIT for month in names for name in ("carried", "new")}
    assert [network.balance(node_id) for node_id in ids.values()] == [0, number * CREDIT, 0]


def test_a_settlement_may_die_anywhere(network: Network) -> None:
    """The job is open until all of it is stored; the node, which was not answered, reports again and is paid once."""
    node_id = network.add("one")
    with network.transaction() as tx:
        accounts.add_token(tx, "studio", "hash", 1000 * CREDIT)
        account_id = accounts.ids(tx)["studio"]
    for number in itertools.count(1):
        told = _at_work(network, account_id, node_id, f"job-{number}")
        with killed_at(network.engine, number) as reached, network.transaction() as tx:
            jobs.finish(tx, [told])
        assert network.wrong() == (), number
        assert (_state(network, account_id, told) is JobState.COMPLETED) is not reached(), number

        for _ in range(2):
            with network.transaction() as tx:
                (answer,) = jobs.finish(tx, [told])
            assert answer is not None
            assert answer.credited_ucr == 10 * CREDIT

        assert network.balance(node_id) == number * 10 * CREDIT
        assert network.wrong() == (), number
        if not reached():
            break
        assert number < MANY
    assert number > 8


def _to_next_month(network: Network) -> None:
    month = month_of(network.now)
    while month_of(network.now) == month:
        network.now += 86400


def _at_work(network: Network, account_id: str, node_id: str, job_id: str) -> Told:
    """Submit a job and have it run; return how it ended."""
    new = New(job_id=job_id, account_id=account_id, job_type="render")
    flight = Flight(attempt_id=f"of {job_id}", job_id=job_id, node_id=node_id, account_id=account_id, need=new.need)
    with network.transaction() as tx:
        submissions.submit(tx, account_id, [new], tx.now)
        assert queue.start(tx, [flight])
        assert jobs.accept(tx, [Start(flight.attempt_id, node_id)]) == [True]
    return Told(node_id, JobResult(job_id=job_id, attempt_id=flight.attempt_id, outcome=Outcome.COMPLETED))


def _state(network: Network, account_id: str, told: Told) -> JobState:
    def state(tx: Tx) -> JobState:
        job = views.show(tx, account_id, told.result.job_id)
        assert job is not None
        return JobState(job.state)

    with network.transaction() as tx:
        return state(tx)

"""Settlement and payout are killed at each statement in turn: the books hold, and done again it is done once."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import attrs
import pytest
from killing import killed_at
from owed_nodes import CREDIT, Network, make_network

from edgeagent.cli.main import main
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.payouts import State
from edgeagent.gateway.rails import Batch, Outcome
from edgeagent.gateway.store import Tx, accounts, jobs, queue, submissions, views
from edgeagent.gateway.store.engine import Database
from edgeagent.gateway.store.flights import Answer, Flight, Start, Told
from edgeagent.gateway.store.submissions import New
from edgeagent.wire import messages
from edgeagent.wire.messages import JobResult
from edgeagent.wire.receipts import month_of

#: Far more statements than there are: a test that never comes to the end fails.
MANY = 200
#: A statement that none comes to.
ENDLESS = 10**9


@attrs.frozen
class Bank:
    """A rail that pays at once, and remembers it whatever becomes of who asked; ``refuses`` is a node's name."""

    folder: Path
    refuses: str

    def instruct(self, batch: Batch) -> Iterator[Outcome]:
        """Pay what was not paid before."""
        for one in batch.payments:
            if one.name == self.refuses:
                yield Outcome(payment_id=one.payment_id, state=State.FAILED, why="unknown account")
                continue
            order = self.folder / one.payment_id
            if not order.exists():
                with order.open("x") as file:
                    file.write(str(one.amount_ucr))
            yield Outcome(payment_id=one.payment_id, state=State.PAID, reference=f"transfer {one.payment_id}")

    @property
    def paid(self) -> dict[str, int]:
        """What was paid, by payment."""
        return {order.name: int(order.read_text()) for order in self.folder.iterdir()}


@pytest.fixture
def network(database: Database, tmp_path: Path) -> Iterator[Network]:
    """An empty network."""
    made = make_network(GatewaySettings(data_dir=tmp_path, postgres=None if isinstance(database, Path) else database))
    yield made
    made.engine.dispose()


def test_a_payout_run_may_be_killed_anywhere(network: Network, tmp_path: Path) -> None:
    """Each month it goes one statement further, with payments of every sort; the bank has paid each of them once."""
    bank = Bank(tmp_path / "bank", refuses="refused")
    bank.folder.mkdir()
    ids = {name: network.add(name) for name in ("carried", "refused", "new")}
    names = []
    for number in itertools.count(1):
        month = month_of(network.now)
        network.earn(ids["carried"], CREDIT)
        _to_next_month(network)
        network.pay(bank, month, minimum_ucr=100 * CREDIT)  # makes a row that the killed run takes up
        network.now -= 86400 * 20
        for name in ("refused", "new"):
            network.earn(ids[name], CREDIT)
        network.now += 86400 * 20

        killed = killed_at(network.engine, number, partial(network.pay, bank, month))
        assert network.wrong() == (), number
        network.pay(bank, month)

        names.append(month)
        states = network.states(month)
        assert states["new"] == states["carried"] == (State.PAID, CREDIT), number
        assert states["refused"][0] is State.FAILED
        assert network.wrong() == (), number
        if not killed:
            break
        assert number < MANY
    assert number > 20
    assert bank.paid == {f"{month} {ids[name]}": CREDIT for month in names for name in ("carried", "new")}
    assert [network.balance(node_id) for node_id in ids.values()] == [0, number * CREDIT, 0]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_command_that_pays_may_be_killed_anywhere(network: Network, tmp_path: Path) -> None:
    """With the rail that writes a file: the owner runs it again, and the file names each payment once."""
    node_id = network.add("one")
    months = [f"{2015 + number // 12}-{number % 12 + 1:02}" for number in range(120)]
    for month in months:
        network.at(month)
        network.earn(node_id, CREDIT)
    network.now = time.time()  # the command's
    for number, month in enumerate(months, 1):
        command = ["gateway", "payouts", "run", "--month", month, "--data", str(tmp_path)]
        killed = killed_at(network.engine, number, partial(main, command, standalone_mode=False))
        assert network.wrong() == (), number

        assert not killed_at(network.engine, ENDLESS, partial(main, command, standalone_mode=False))

        with (tmp_path / "payouts" / f"{month}.csv").open(newline="") as file:
            (told,) = csv.DictReader(file)
        assert (node_id, "1") == (told["node"], told["credits"])
        assert network.states(month) == {"one": (State.INSTRUCTED, CREDIT)}, number
        assert network.balance(node_id) == (len(months) - number) * CREDIT
        assert network.wrong() == (), number
        if not killed:
            break
    else:
        pytest.fail("it never came to its end")
    assert number > 15
    assert {f"{month}.csv" for month in months[:number]} == {one.name for one in (tmp_path / "payouts").iterdir()}


def test_a_settlement_may_be_killed_anywhere(network: Network) -> None:
    """The job is open until all of it is stored; the node, which was not answered, reports again and is paid once."""
    node_id = network.add("one")
    with network.transaction() as tx:
        accounts.add_token(tx, "studio", "hash", 1000 * CREDIT)
        account_id = accounts.ids(tx)["studio"]
    for number in itertools.count(1):
        told = _at_work(network, account_id, node_id, f"job-{number}")
        killed = killed_at(network.engine, number, partial(_finish, network, told))
        assert network.wrong() == (), number
        assert (_state(network, account_id, told) is JobState.COMPLETED) is not killed, number

        for _ in range(2):
            answer = _finish(network, told)
            assert answer is not None
            assert answer.credited_ucr == 10 * CREDIT
            assert answer.settlement is not None
            assert answer.settlement.index == number - 1

        assert network.balance(node_id) == number * 10 * CREDIT
        assert network.wrong() == (), number
        if not killed:
            break
        assert number < MANY
    assert number > 8


def _finish(network: Network, told: Told) -> Answer | None:
    with network.transaction() as tx:
        (answer,) = jobs.finish(tx, [told])
    return answer


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
    return Told(node_id, JobResult(job_id=job_id, attempt_id=flight.attempt_id, outcome=messages.Outcome.COMPLETED))


def _state(network: Network, account_id: str, told: Told) -> JobState:
    def state(tx: Tx) -> JobState:
        job = views.show(tx, account_id, told.result.job_id)
        assert job is not None
        return JobState(job.state)

    with network.transaction() as tx:
        return state(tx)

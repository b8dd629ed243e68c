"""Settlements in the store: one leaf for each credited attempt, in its month, and the stored tree is the RFC's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256

import pytest
import sqlalchemy as sa

from edgeagent.gateway.needs import Need
from edgeagent.gateway.store import Tx, accounts, jobs, nodes, queue, settlements, submissions, tables
from edgeagent.gateway.store.engine import Database, migrate, open_engine
from edgeagent.gateway.store.flights import Flight, Start, Told
from edgeagent.gateway.store.settlements import Due
from edgeagent.wire import merkle
from edgeagent.wire.messages import JobResult, Outcome


def at(text: str) -> float:
    """Return a moment of UTC in seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


OCTOBER, NOVEMBER = at("2026-10-31T23:59:59.5"), at("2026-11-01T00:00:00")


class Ledger:
    """A database with one node, whose clock the test sets."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        tx = self.tx(OCTOBER)
        accounts.add_token(tx, "studio", "hash", 10**12)
        self.account_id = accounts.ids(tx)["studio"]
        self.node_id = nodes.register(tx, nodes.Applicant("one", "key", ("render",), {}))
        self._count = 0

    def tx(self, now: float) -> Tx:
        return Tx(self.connection, now)

    def told(self, now: float, count: int = 1) -> list[Told]:
        """Return the results of jobs that were submitted and are being worked on."""
        tx, made = self.tx(now), []
        for _ in range(count):
            self._count += 1
            name = str(self._count)
            new = submissions.New(job_id=f"job {name}", account_id=self.account_id, job_type="render")
            submissions.submit(tx, self.account_id, [new], now)
            flight = Flight(
                attempt_id=name,
                job_id=new.job_id,
                node_id=self.node_id,
                account_id=self.account_id,
                need=Need("render"),
            )
            queue.start(tx, [flight])
            jobs.accept(tx, [Start(name, self.node_id)])
            result = JobResult(job_id=new.job_id, attempt_id=name, outcome=Outcome.COMPLETED)
            made.append(Told(self.node_id, result))
        return made

    def due(self, numbers: range) -> list[Due]:
        """Return attempts, all of one job, that are to be settled."""
        if not self._count:
            self.told(OCTOBER)
        row = {"job_id": "job 1", "node_id": self.node_id, "state": "COMPLETED", "created_at": OCTOBER}
        row |= {"detail": "", "usage": "{}", "sandbox": "{}"}
        made = [Due(f"try {number}", number) for number in numbers]
        digests = [
            {"attempt_id": one.attempt_id, "receipt_sha256": sha256(one.attempt_id.encode()).digest()} for one in made
        ]
        self.connection.execute(sa.insert(tables.attempts), [{**row, **one} for one in digests])
        return made

    def finish(self, now: float, count: int = 1) -> list[tuple[str, int]]:
        """Complete jobs; return month and place of each."""
        answers = jobs.finish(self.tx(now), self.told(now, count))
        found = [one.settlement for one in answers if one is not None]
        return [(one.month, one.index) for one in found if one is not None]


@pytest.fixture
def books(database: Database) -> Iterator[Ledger]:
    """An open transaction on each kind of database."""
    engine = open_engine(database, writer=True)
    migrate(engine)
    with engine.connect() as connection, connection.begin() as transaction:
        yield Ledger(connection)
        transaction.rollback()
    engine.dispose()


def test_results_that_come_together_get_places_in_a_row(books: Ledger) -> None:
    """Each its own, across calls, in one tree for each month."""
    assert books.finish(OCTOBER, 2) == [("2026-10", 0), ("2026-10", 1)]
    assert books.finish(OCTOBER) == [("2026-10", 2)]
    assert books.finish(NOVEMBER, 2) == [("2026-11", 0), ("2026-11", 1)]
    assert [(one.month, one.leaves, one.credited_ucr) for one in settlements.all_months(books.tx(NOVEMBER))] == [
        ("2026-10", 3, 30_000_000),
        ("2026-11", 2, 20_000_000),
    ]


def test_the_same_result_again_is_the_same_settlement(books: Ledger) -> None:
    """In the same call or a later one; there stays one leaf."""
    (told,) = books.told(OCTOBER)

    first, second = jobs.finish(books.tx(OCTOBER), [told, told])
    (third,) = jobs.finish(books.tx(NOVEMBER), [told])

    assert first is not None
    assert second is not None
    assert third is not None
    assert first.settlement is not None
    assert first.settlement == second.settlement == third.settlement
    assert [one.leaves for one in settlements.all_months(books.tx(NOVEMBER))] == [1]


def test_a_month_closes_when_it_is_over(books: Ledger) -> None:
    """Not before, and once."""
    books.finish(OCTOBER)

    assert settlements.close(books.tx(OCTOBER)) == []
    assert settlements.close(books.tx(NOVEMBER)) == ["2026-10"]
    assert settlements.close(books.tx(NOVEMBER)) == []
    assert settlements.month(books.tx(NOVEMBER), "2026-10") == settlements.Month(
        "2026-10", 1, 10_000_000, int(NOVEMBER)
    )


def test_a_clock_that_is_set_back_adds_nothing_to_a_closed_month(books: Ledger) -> None:
    """What is settled then goes into the next month that is open."""
    books.finish(OCTOBER)
    settlements.close(books.tx(NOVEMBER))

    assert books.finish(OCTOBER) == [("2026-11", 0)]


def test_a_clock_that_was_set_forward_closes_only_what_it_passed(books: Ledger) -> None:
    """A year too far and back: months that nothing was settled in are as before."""
    books.finish(OCTOBER)
    settlements.close(books.tx(at("2027-10-15")))
    assert books.finish(at("2027-10-15")) == [("2027-10", 0)]

    assert books.finish(NOVEMBER) == [("2026-11", 0)]


def test_the_stored_tree_is_that_of_its_leaves(books: Ledger) -> None:
    """Whatever the portions in which they come: roots and proofs of every kind, over two stored levels."""
    tx, total = books.tx(OCTOBER), 0
    for portion in (1, 254, 1, 1, 300, 211):
        due = books.due(range(total, total + portion))
        settlements.append(tx, due)
        total += portion
    leaves = [bytes(one) for one in tx.connection.scalars(sa.select(tables.settlements.c.leaf).order_by("place")).all()]
    read, whole = settlements.hashes(tx, "2026-10"), merkle.over(leaves)

    assert total == len(leaves) == 768
    assert tx.connection.scalar(sa.select(sa.func.count()).select_from(tables.month_hashes)) == 3
    for size in (1, 255, 256, 257, 511, 512, 700, 768):
        assert merkle.root(read, size) == merkle.root(whole, size)
        assert merkle.inclusion(read, size - 1, size) == merkle.inclusion(whole, size - 1, size)
        assert merkle.inclusion(read, 0, size) == merkle.inclusion(whole, 0, size)
        assert merkle.consistency(read, size, 768) == merkle.consistency(whole, size, 768)


def test_a_tree_that_lacks_a_leaf_is_not_made_up(books: Ledger) -> None:
    """A row that is gone is a fault of the database, not a smaller tree."""
    books.finish(OCTOBER, 3)
    books.connection.execute(sa.delete(tables.settlements).where(tables.settlements.c.place == 1))

    with pytest.raises(LookupError, match="the tree of 2026-10 lacks hashes"):
        merkle.root(settlements.hashes(books.tx(OCTOBER), "2026-10"), 3)


def test_what_is_settled_says_what_was_paid_for(books: Ledger) -> None:
    """A leaf is the hash of the settlement that the node gets."""
    (settled,) = (one for one in jobs.finish(books.tx(OCTOBER), books.told(OCTOBER)) if one is not None)

    stored = books.connection.scalar(sa.select(tables.settlements.c.leaf))
    assert stored is not None
    assert settled.settlement is not None
    assert settled.settlement.leaf == bytes(stored)
    assert settlements.of_attempts(books.tx(OCTOBER), ["1"]) == {"1": settled.settlement}

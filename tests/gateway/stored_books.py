"""Books with something of everything in them, and ways to write in them past the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import sqlalchemy as sa

from edgeagent.gateway import bookkeeping, ledger
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.store import Tx, accounts, jobs, nodes, queue, submissions, verification
from edgeagent.gateway.store import ledger as entries
from edgeagent.gateway.store.engine import migrate, open_engine
from edgeagent.gateway.store.flights import Flight, Start, Told
from edgeagent.gateway.store.payout_tables import payouts
from edgeagent.gateway.store.submissions import New
from edgeagent.gateway.store.tables import ledger_entries, ledger_postings
from edgeagent.gateway.store.verification import Wrong
from edgeagent.wire.messages import JobResult, Outcome

NOW = 1_790_000_000.0


@attrs.frozen
class Books:
    """A gateway's database without a gateway."""

    place: GatewaySettings
    engine: sa.Engine

    @contextmanager
    def changed(self) -> Iterator[Draft]:
        """Give the block books to write in, of which nothing is kept."""
        with self.engine.connect() as connection, connection.begin() as transaction:
            yield Draft(connection)
            transaction.rollback()


@attrs.frozen
class Draft:
    """Books in which somebody writes behind the gateway's back."""

    connection: sa.Connection

    def run(self, *statements: str) -> None:
        """Change something."""
        for statement in statements:
            self.connection.execute(sa.text(statement))

    def all(self, query: str) -> list[Any]:
        """Return the rows of a query."""
        return list(self.connection.execute(sa.text(query)).all())

    def one(self, query: str) -> Any:
        """Return the one value of a query."""
        return self.all(query)[0][0]

    def wrong(self) -> tuple[Wrong, ...]:
        """Return what the auditor says."""
        return verification.verify(Tx(self.connection, NOW)).wrong

    def append(self, entry: ledger.Entry) -> int:
        """Write an entry that no rule of the gateway's would let through, with a hash that fits; return its number."""
        seq, previous = entries._tip(Tx(self.connection, NOW))
        made = {"kind": entry.kind.value, "reference": entry.reference, "memo": entry.memo, "at": NOW}
        digest = ledger.chain_hash(previous, entry, NOW)
        self.connection.execute(sa.insert(ledger_entries), {"seq": seq + 1, "hash": digest, **made})
        for one in entry.postings:
            line = {"entry_seq": seq + 1, "account": one.account, "amount_ucr": one.amount_ucr}
            self.connection.execute(sa.insert(ledger_postings), line)
        return seq + 1

    def chain_again(self) -> None:
        """Compute every hash anew, as somebody would who covers his traces."""
        previous = ledger.FIRST_HASH
        for one in list(entries.entries(Tx(self.connection, NOW))):
            previous = ledger.chain_hash(previous, one.entry, one.at)
            of_entry = sa.update(ledger_entries).where(ledger_entries.c.seq == one.seq)
            self.connection.execute(of_entry.values(hash=previous))


def keep_books(place: GatewaySettings) -> Books:
    """Make a gateway's database in which jobs of every state have been paid for, and the owner has corrected things."""
    engine = open_engine(place.database, writer=True)
    migrate(engine)
    books = Books(place, engine)
    with engine.begin() as connection:
        tx = Tx(connection, NOW)
        accounts.add_token(tx, "studio", "hash", 100_000_000)
        account_id = accounts.ids(tx)["studio"]
        operators = [
            nodes.register(tx, nodes.Applicant(name, f"key {name}", ("render", "echo"), {})) for name in ("one", "two")
        ]
        wanted = ["render", "render", "render", "render", "render", "render", "echo"]
        new = [New(job_id=f"job-{number}", account_id=account_id, job_type=kind) for number, kind in enumerate(wanted)]
        for job in new:
            submissions.submit(tx, account_id, [job], NOW)
        _run(tx, new[0], operators[0], Outcome.COMPLETED)
        _run(tx, new[1], operators[1], Outcome.COMPLETED)
        _run(tx, new[2], operators[1], Outcome.REJECTED)
        jobs.cancel(tx, "job-4", account_id)
        _run(tx, new[5], operators[0], Outcome.COMPLETED)
        _run(tx, new[6], operators[0], Outcome.COMPLETED)
        _pay(tx, "2026-09", operators[0], 5_000_000)
    assert bookkeeping.refund(place, "job-0", "it was the wrong picture", from_node=False)
    assert bookkeeping.refund(place, "job-5", "the node cheated", from_node=True)
    assert bookkeeping.adjust(place, "node:two", 1_500_000, "ticket 7", "for the lost day")
    return books


def _pay(tx: Tx, month: str, node_id: str, amount_ucr: int) -> None:
    """Pay what is there of a month that goes on, which the gateway would not."""
    times = {"made_at": tx.now, "changed_at": tx.now}
    row = {"month": month, "node_id": node_id, "amount_ucr": amount_ucr, "state": "due", "batch": 1, **times}
    texts = dict.fromkeys(("address", "rail", "reference", "why"), "")
    tx.connection.execute(sa.insert(payouts), {**row, **texts})
    entries.post(tx, ledger.payout(month, node_id, amount_ucr))


def _run(tx: Tx, job: New, node_id: str, outcome: Outcome) -> None:
    attempt_id = f"of {job.job_id}"
    flight = Flight(attempt_id=attempt_id, job_id=job.job_id, node_id=node_id, account_id=job.account_id, need=job.need)
    assert queue.start(tx, [flight])
    assert jobs.accept(tx, [Start(attempt_id, node_id)]) == [True]
    assert jobs.finish(tx, [Told(node_id, JobResult(job_id=job.job_id, attempt_id=attempt_id, outcome=outcome))])[0]

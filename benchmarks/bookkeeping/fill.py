"""Books of any size, quickly: rows that the gateway has made for one job and one node, copied with other ids.

What a copy says is true: every entry has its job, every balance and sum is that of its entries, and every hash is the
one that ``gateway.ledger`` computes.  So the auditor finds nothing wrong, and looks as long as at
books that have grown.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import sqlalchemy as sa

from edgeagent.gateway import ledger
from edgeagent.gateway.earnings import DAY_S
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.store import (
    Tx,
    accounts,
    jobs,
    nodes,
    payout_addresses,
    payout_tables,
    queue,
    settlements,
    submissions,
    tables,
)
from edgeagent.gateway.store.engine import migrate, open_engine
from edgeagent.gateway.store.flights import Flight, Start, Told
from edgeagent.gateway.store.settlements import Due
from edgeagent.gateway.store.submissions import New
from edgeagent.gateway.store.tables import ledger_accounts, ledger_entries, ledger_postings
from edgeagent.wire import receipts
from edgeagent.wire.messages import JobResult, NodeState, Outcome
from edgeagent.wire.receipts import month_bounds

#: The month in which everything happens: one that is over.
MONTH = "2026-09"
SUBMITTER, TYPE = "bench", "render"
#: Days in a row on which a node works, so that its sums by day are several and not as many as its jobs.
WORKING_DAYS = 5
_GRANT_UCR = 10**16
_AT_ONCE = 20_000


@attrs.define
class _Books:
    """The books so far: the chain's end, and what the balances are."""

    seq: int = 0
    tip: str = ledger.FIRST_HASH
    balances: Counter[str] = attrs.Factory(Counter)

    def add(self, entry: ledger.Entry, at: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Append an entry; return its row and those of its postings."""
        self.seq, self.tip = self.seq + 1, ledger.chain_hash(self.tip, entry, at)
        for one in entry.postings:
            self.balances[one.account] += one.amount_ucr
        row = {"kind": entry.kind.value, "reference": entry.reference, "memo": entry.memo, "at": at}
        postings = [
            {"entry_seq": self.seq, "account": one.account, "amount_ucr": one.amount_ucr} for one in entry.postings
        ]
        return {"seq": self.seq, "hash": self.tip, **row}, postings


def fill(database: Path, *, node_count: int, job_count: int) -> int:
    """Make a gateway's database with so many nodes and completed jobs; return how many entries it has.

    There are two for each job: its price is held and then paid.  Nodes work ``WORKING_DAYS`` days of the month, each as
    many jobs as the others, and have a payout address.
    """
    engine = open_engine(database, writer=True, durable=False)
    try:
        migrate(engine)
        with engine.begin() as connection:
            account_id, rows = _templates(Tx(connection, month_bounds(MONTH)[0]))
        with engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            raw.execute("PRAGMA journal_mode = OFF")  # a journal would be as large again
            raw.execute("PRAGMA cache_size = -400000")  # keys come in no order: 400 MB of the trees
            with connection.begin():
                return _fill(connection, account_id, rows, node_count, job_count)
    finally:
        engine.dispose()


def _fill(
    connection: sa.Connection, account_id: str, rows: dict[str, dict[str, Any]], node_count: int, job_count: int
) -> int:
    dice = random.Random(1)
    start = month_bounds(MONTH)[0]
    ids = [str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(node_count)]
    days = [dice.randrange(30 - WORKING_DAYS) for _ in ids]
    price = ledger.price_ucr(TYPE)

    books = _Books()
    grant = books.add(ledger.grant(account_id, _GRANT_UCR), start)
    connection.execute(sa.insert(ledger_entries), [grant[0]])
    connection.execute(sa.insert(ledger_postings), grant[1])
    _nodes(connection, rows["nodes"], ids, start, [_share(job_count, node_count, n) for n in range(node_count)], price)

    def work() -> Iterator[tuple[int, str, float]]:
        for number in range(job_count):
            day = (days[number % node_count] + (number // node_count) % WORKING_DAYS) * DAY_S
            yield number, str(uuid.UUID(int=dice.getrandbits(128))), start + day + dice.randrange(DAY_S)

    done: Counter[tuple[str, int]] = Counter()
    for batch in _batches(work()):
        made: dict[str, list[dict[str, Any]]] = {"jobs": [], "attempts": [], "entries": [], "postings": []}
        for number, job_id, at in batch:
            node_id = ids[number % node_count]
            done[node_id, int(at // DAY_S)] += 1
            attempt_id = f"{job_id[::-1]}"
            times = {"created_at": at, "started_at": at, "finished_at": at}
            made["jobs"].append({**rows["jobs"], "job_id": job_id, "current_attempt": attempt_id, **times})
            run = {"attempt_id": attempt_id, "job_id": job_id, "node_id": node_id, "created_at": at, "ended_at": at}
            result = JobResult(job_id=job_id, attempt_id=attempt_id, outcome=Outcome.COMPLETED)
            digest = bytes.fromhex(receipts.receipt(node_id, TYPE, price, result).sha256)
            made["attempts"].append({**rows["attempts"], **run, "receipt_sha256": digest})
            for entry in (
                ledger.hold(account_id, job_id, price),
                ledger.settle(account_id, job_id, [node_id], price, price),
            ):
                row, postings = books.add(entry, at)
                made["entries"].append(row)
                made["postings"] += postings
        for table, key in (
            (tables.jobs, "jobs"),
            (tables.attempts, "attempts"),
            (ledger_entries, "entries"),
            (ledger_postings, "postings"),
        ):
            connection.execute(sa.insert(table), made[key])
        settlements.append(Tx(connection, start), [Due(one["attempt_id"], price) for one in made["attempts"]])
    _insert(
        connection,
        tables.node_days,
        [
            {"node_id": node_id, "day": day, "jobs_completed": count, "earned_ucr": count * price}
            for (node_id, day), count in done.items()
        ],
    )
    balances = [{"account": name, "balance_ucr": ucr} for name, ucr in books.balances.items()]
    _insert(connection, ledger_accounts, balances)
    return books.seq


def _templates(tx: Tx) -> tuple[str, dict[str, dict[str, Any]]]:
    """Have one node do one job, take down its rows and take them out again; return the account's id and the rows."""
    with tx.connection.begin_nested() as trial:
        accounts.add_token(tx, SUBMITTER, "hash", _GRANT_UCR)
        account_id = accounts.ids(tx)[SUBMITTER]
        account = _only(tx, tables.accounts)
        node_id = nodes.register(tx, nodes.Applicant("node", "key", (TYPE,), {}))
        payout_addresses.change(tx, node_id, "bank")
        new = New(job_id="job", account_id=account_id, job_type=TYPE)
        submissions.submit(tx, account_id, [new], tx.now)
        flight = Flight(attempt_id="attempt", job_id="job", node_id=node_id, account_id=account_id, need=new.need)
        queue.start(tx, [flight])
        jobs.accept(tx, [Start("attempt", node_id)])
        jobs.finish(tx, [Told(node_id, JobResult(job_id="job", attempt_id="attempt", outcome=Outcome.COMPLETED))])
        rows = {name: _only(tx, getattr(tables, name)) for name in ("nodes", "jobs", "attempts")}
        trial.rollback()
    assert rows["jobs"]["state"] == JobState.COMPLETED.value
    tx.connection.execute(sa.insert(tables.accounts), account)
    for name in ("nodes", "jobs", "attempts"):
        del rows[name]["seq"]
    return account_id, rows


def _only(tx: Tx, table: sa.Table) -> dict[str, Any]:
    return dict(tx.connection.execute(sa.select(table)).one()._mapping)


def _nodes(
    connection: sa.Connection, row: Mapping[str, Any], ids: Sequence[str], at: float, shares: Sequence[int], price: int
) -> None:
    made = [
        {
            **row,
            "node_id": node_id,
            "name": f"node {number}",
            "name_key": f"node {number}",
            "public_key": f"key {number}",
            "state": NodeState.HEALTHY.value,
            "jobs_completed": shares[number],
            "earned_ucr": shares[number] * price,
            "created_at": at,
        }
        for number, node_id in enumerate(ids)
    ]
    states = [{"node_id": one, "state": NodeState.HEALTHY.value, "cause": "heartbeat", "since": at} for one in ids]
    addresses = [{"node_id": one, "address": f"account {one}", "since": at} for one in ids]
    _insert(connection, tables.nodes, made)
    _insert(connection, tables.node_states, states)
    _insert(connection, payout_tables.payout_addresses, addresses)


def _share(jobs_: int, nodes_: int, number: int) -> int:
    """How many of so many jobs the node of this number does, in turns."""
    return jobs_ // nodes_ + (1 if number < jobs_ % nodes_ else 0)


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    for first in range(0, len(rows), _AT_ONCE):
        connection.execute(sa.insert(table), rows[first : first + _AT_ONCE])


def _batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch

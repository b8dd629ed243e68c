"""What always holds of jobs, attempts, nodes and books, whatever has happened: checks of everything that is stored."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import sqlalchemy as sa

from edgeagent.gateway import ledger
from edgeagent.gateway.jobs import OPEN_ATTEMPTS, OPEN_JOBS, AttemptState, JobState
from edgeagent.gateway.ledger import FIRST_HASH, ISSUER, Kind
from edgeagent.gateway.store import Tx, tables
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.trust import MAX_RESULTS

#: What is looked at.
_ALL = {
    name: sa.select(table)
    for name, table in {
        "jobs": tables.jobs,
        "attempts": tables.attempts,
        "nodes": tables.nodes,
        "accounts": tables.ledger_accounts,
    }.items()
}


@attrs.frozen
class Snapshot:
    """Everything that is stored."""

    jobs: dict[str, Any]
    attempts: list[Any]
    nodes: list[Any]
    balances: dict[str, int]
    entries: list[books.Recorded]

    @classmethod
    def take(cls, tx: Tx) -> Snapshot:
        rows = {name: tx.connection.execute(every).all() for name, every in _ALL.items()}
        return cls(
            {row.job_id: row for row in rows["jobs"]},
            list(rows["attempts"]),
            list(rows["nodes"]),
            {row.account: row.balance_ucr for row in rows["accounts"]},
            list(books.entries(tx)),
        )


def check_jobs(now: Snapshot) -> None:
    """An ended job is paid or paid back once, and says when and why it ended."""
    moved = Counter((recorded.kind, recorded.reference) for recorded in now.entries)
    for job in now.jobs.values():
        state, costs = JobState(job.state), bool(job.price_ucr)
        assert moved[Kind.HOLD, job.job_id] == costs
        assert moved[Kind.SETTLE, job.job_id] == (costs and state is JobState.COMPLETED)
        assert moved[Kind.RELEASE, job.job_id] == (costs and state in {JobState.FAILED, JobState.CANCELLED})
        tries = [one for one in now.attempts if one.job_id == job.job_id]
        paid = [one.attempt_id for one in tries if one.state == AttemptState.COMPLETED]
        assert job.credited_ucr == job.price_ucr * len(paid)
        assert len(paid) in ({1, job.quorum} if state is JobState.COMPLETED else {0})
        assert state is not JobState.COMPLETED or job.current_attempt in paid
        held = [one for one in tries if one.state == AttemptState.HELD]
        assert len(held) <= (MAX_RESULTS - 1 if job.quorum > 1 and state in OPEN_JOBS else 0)
        disputed = [one for one in tries if one.state == AttemptState.DISPUTED]
        assert not disputed or len(paid) == job.quorum
        assert (job.finished_at is None) == (state in OPEN_JOBS)
        assert (job.error is not None) == (state is JobState.FAILED)


def check_attempts(now: Snapshot) -> None:
    """An open attempt is the one its job waits for."""
    open_of = Counter[str]()
    for attempt in now.attempts:
        if AttemptState(attempt.state) in OPEN_ATTEMPTS:
            job = now.jobs[attempt.job_id]
            open_of[attempt.job_id] += 1
            assert (job.current_attempt, job.state) == (attempt.attempt_id, attempt.state)
    for job in now.jobs.values():
        assert open_of[job.job_id] == (job.state in {JobState.DISPATCHED, JobState.RUNNING})


def check_books(now: Snapshot) -> None:
    """Balances sum to zero, are what the postings add up to, and the chain is whole."""
    assert sum(now.balances.values()) == 0
    assert all(balance >= 0 for account, balance in now.balances.items() if account != ISSUER)
    summed, previous = Counter[str](), FIRST_HASH
    for number, recorded in enumerate(now.entries, 1):
        assert recorded.seq == number
        assert recorded.hash == ledger.chain_hash(previous, recorded.entry, recorded.at)
        previous = recorded.hash
        for posting in recorded.entry.postings:
            summed[posting.account] += posting.amount_ucr
    assert now.balances == {account: summed[account] for account in now.balances}
    held = sum(job.price_ucr * job.quorum for job in now.jobs.values() if JobState(job.state) in OPEN_JOBS)
    assert held == sum(balance for account, balance in now.balances.items() if account.startswith("held:"))


def check_earnings(now: Snapshot) -> None:
    """Nodes have earned what they were paid, for as many jobs as were completed."""
    for node in now.nodes:
        assert node.earned_ucr == now.balances.get(ledger.node_account(node.node_id), 0)
    completed = sum(attempt.state == AttemptState.COMPLETED for attempt in now.attempts)
    assert completed == sum(node.jobs_completed for node in now.nodes)


def check_operators(now: Snapshot, operators: dict[str, str]) -> None:
    """No operator has two voices about one job."""
    for job in now.jobs.values():
        counted = {AttemptState.HELD, AttemptState.COMPLETED, AttemptState.DISPUTED}
        voices = [operators[one.node_id] for one in now.attempts if one.job_id == job.job_id and one.state in counted]
        assert len(voices) == len(set(voices))

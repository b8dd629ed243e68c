"""Do the books hold?  Walks the chain, the balances and the jobs, as an auditor would who trusts none of them.

Everything is read in one snapshot, so a gateway may work meanwhile, and in portions, so millions of entries take
minutes and not memory.  What an entry should say is computed by the rules of ``gateway.ledger`` from the job that it is
for; that the job itself is told right is the business of those who signed receipts for it (``wire.receipts``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs
import sqlalchemy as sa

from edgeagent.gateway import ledger
from edgeagent.gateway.jobs import AttemptState, JobState
from edgeagent.gateway.ledger import Entry, Kind
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store import payout_audit, settlement_audit
from edgeagent.gateway.store.ledger import Recorded
from edgeagent.gateway.store.tables import attempts, jobs, ledger_accounts, ledger_entries, node_days, nodes
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.store.wrong import Wrong

_JOB = (
    sa.select(
        jobs.c.job_id,
        jobs.c.account_id,
        jobs.c.state,
        jobs.c.price_ucr,
        jobs.c.quorum,
        jobs.c.credited_ucr,
        attempts.c.node_id,
    )
    .join_from(jobs, attempts, jobs.c.current_attempt == attempts.c.attempt_id, isouter=True)
    .where(jobs.c.job_id.in_(sa.bindparam("ids", expanding=True)))
)
#: Who is paid for a job of which more results than one were compared.
_PAID = sa.select(attempts.c.job_id, attempts.c.node_id).where(
    attempts.c.job_id.in_(sa.bindparam("ids", expanding=True)), attempts.c.state == AttemptState.COMPLETED.value
)
#: Entries whose jobs are looked up together.
_PORTION = 500


@attrs.frozen
class Verdict:
    """What was looked at, and what is wrong, the first wrong entry first."""

    entries: int
    accounts: int
    jobs: int
    tip: str  # the last entry's hash: whoever notes it sees later whether the past was rewritten
    wrong: tuple[Wrong, ...]


def verify(tx: Tx, most: int = 20, *, receipts: bool = True) -> Verdict:
    """Check the whole ledger; stop after ``most`` faults of each sort.

    Args:
        receipts: look at the months' trees too, where each receipt is made and its signature checked anew, which takes
            longer than all the rest.
    """
    walk = _Walk()
    faults = _first(walk.faults(tx), most)
    faults += _first(_balances(tx, walk.balances), most)
    faults += _first(_jobs(tx), most)
    faults += _first(_nodes(tx, walk.earned), most)
    faults += _first(payout_audit.faults(tx), most)
    if receipts:
        faults += _first(settlement_audit.faults(tx), most)
    counted = tx.connection.execute(sa.select(sa.func.count()).select_from(jobs)).scalar_one()
    return Verdict(walk.entries, len(walk.balances), counted, walk.tip, tuple(faults))


class _Walk:
    """One way through all entries, and what they add up to."""

    def __init__(self) -> None:
        self.entries = 0
        self.tip = ledger.FIRST_HASH
        self.balances: Counter[str] = Counter()
        self.earned: Counter[str] = Counter()  # by node's account: all but payouts and what came back of them

    def faults(self, tx: Tx) -> Iterator[Wrong]:
        portion: list[Recorded] = []
        for recorded in books.entries(tx):
            portion.append(recorded)
            if len(portion) == _PORTION:
                yield from self._portion(tx, portion)
                portion.clear()
        yield from self._portion(tx, portion)

    def _portion(self, tx: Tx, portion: list[Recorded]) -> Iterator[Wrong]:
        ids = [one.reference for one in portion if one.kind in ledger.OF_JOBS]
        found = {row.job_id: row for row in tx.connection.execute(_JOB, {"ids": ids})} if ids else {}
        paid: dict[str, list[str]] = {job_id: [row.node_id] for job_id, row in found.items()}
        several = [job_id for job_id, row in found.items() if row.credited_ucr > row.price_ucr]
        paid |= {job_id: [] for job_id in several}
        for row in tx.connection.execute(_PAID, {"ids": several}) if several else ():
            paid[row.job_id].append(row.node_id)
        for one in portion:
            self.entries += 1
            if why := self._entry(one, found.get(one.reference), paid.get(one.reference, [])):
                yield Wrong(why, one.seq)

    def _entry(self, recorded: Recorded, job: Any, paid: list[str]) -> str | None:
        """Return the first thing that is wrong with the next entry, and go on from what it says."""
        for posting in recorded.postings:
            self.balances[posting.account] += posting.amount_ucr
            if recorded.kind not in ledger.OF_PAYOUTS:
                self.earned[posting.account] += posting.amount_ucr
        previous, self.tip = self.tip, recorded.hash
        if recorded.seq != self.entries:
            missing, self.entries = self.entries, recorded.seq
            return f"entry {missing} is missing before it"
        try:
            entry = recorded.entry
        except ValueError as error:
            return str(error)
        if recorded.hash != ledger.chain_hash(previous, entry, recorded.at):
            return "its hash does not follow from what it says and the entry before it"
        for posting in entry.postings:
            if posting.account != ledger.ISSUER and self.balances[posting.account] < 0:
                return f"it takes {posting.account} below zero"
        return _against_job(entry, job, paid) if entry.kind in ledger.OF_JOBS else _against_kind(entry)


def _against_job(entry: Entry, job: Any, paid: list[str]) -> str | None:
    """Compare an entry with what its job says; ``paid`` are the nodes that its result was paid to."""
    if job is None:
        return f"there is no job {entry.reference}"
    held_ucr, cost_ucr = job.price_ucr * job.quorum, job.price_ucr * len(paid)
    if entry.kind is Kind.HOLD:
        expected = [ledger.hold(job.account_id, job.job_id, held_ucr)]
    elif entry.kind is Kind.RELEASE:
        expected = [ledger.release(job.account_id, job.job_id, held_ucr)]
    elif entry.kind is Kind.SETTLE:
        expected = [ledger.settle(job.account_id, job.job_id, paid, job.price_ucr, held_ucr)]
    else:
        expected = [ledger.refund(job.account_id, job.job_id, cost_ucr, payers) for payers in ((), paid)]
    if not any(set(one.postings) == set(entry.postings) for one in expected):
        return f"it does not post what job {entry.reference} costs to whom it concerns"
    return None


def _against_kind(entry: Entry) -> str | None:
    """A grant goes to a submitter, a payout from a node or back; an adjustment is between the issuer and anybody."""
    accounts = {one.account: one.amount_ucr for one in entry.postings}
    if entry.kind in ledger.OF_PAYOUTS:
        outwards = accounts.get(ledger.PAID_OUT, 0) * (1 if entry.kind is Kind.PAYOUT else -1)
        fits = outwards > 0 and any(one.startswith("node:") for one in accounts)
    elif entry.kind is Kind.GRANT:
        fits = accounts.get(ledger.ISSUER, 0) < 0 and any(one.startswith("submitter:") for one in accounts)
    else:
        fits = ledger.ISSUER in accounts
    article = "an" if entry.kind is Kind.ADJUSTMENT else "a"
    posts = f"{article} {entry.kind} does not post to {', '.join(sorted(accounts))}"
    return None if fits and len(accounts) == 2 else posts


def _balances(tx: Tx, summed: Counter[str]) -> Iterator[Wrong]:
    there = {row.account: row.balance_ucr for row in tx.connection.execute(sa.select(ledger_accounts))}
    for account in sorted(there.keys() | summed.keys()):
        if there.get(account, 0) != summed[account]:
            yield Wrong(
                f"{account} has {there.get(account, 0)} micro-credits, its postings add up to {summed[account]}"
            )


def _jobs(tx: Tx) -> Iterator[Wrong]:
    """A job that costs is held for once, and then paid once or paid back once, as its state says."""
    seq_of = {kind: ledger_entries.alias(kind.value) for kind in (Kind.HOLD, Kind.SETTLE, Kind.RELEASE)}
    joined: sa.FromClause = jobs
    for kind, entry in seq_of.items():
        # The empty reference is spelled out so that the databases see that their partial index fits.
        same = (entry.c.kind == kind.value) & (entry.c.reference == jobs.c.job_id) & (entry.c.reference != "")
        joined = joined.outerjoin(entry, same)
    costs = jobs.c.price_ucr > 0
    completed = jobs.c.state == JobState.COMPLETED.value
    given_up = jobs.c.state.in_([JobState.FAILED.value, JobState.CANCELLED.value])
    expected = {Kind.HOLD: costs, Kind.SETTLE: costs & completed, Kind.RELEASE: costs & given_up}
    # Once or, where results were compared, so often as two agreed; which of these the entry shows.
    several = sa.and_(jobs.c.quorum > 1, completed, jobs.c.credited_ucr == jobs.c.price_ucr * jobs.c.quorum)
    credited = sa.case((several, jobs.c.credited_ucr), (completed, jobs.c.price_ucr), else_=0)
    wrong = sa.or_(
        jobs.c.credited_ucr != credited, *(seq_of[kind].c.seq.is_not(None) != want for kind, want in expected.items())
    )
    columns = [jobs.c.job_id, jobs.c.state, jobs.c.price_ucr, jobs.c.credited_ucr]
    has = [entry.c.seq.label(kind.value) for kind, entry in seq_of.items()]
    for row in tx.connection.execute(sa.select(*columns, *has).select_from(joined).where(wrong).order_by(jobs.c.seq)):
        entries = ", ".join(f"{kind} {getattr(row, kind.value)}" for kind in seq_of if getattr(row, kind.value))
        yield Wrong(
            f"job {row.job_id} is {row.state}, costs {row.price_ucr} micro-credits and is credited {row.credited_ucr}, "
            f"with entries: {entries or 'none'}"
        )


def _nodes(tx: Tx, earned: Counter[str]) -> Iterator[Wrong]:
    """What the leaderboard shows is what the books and the jobs say."""
    done = (
        sa.select(attempts.c.node_id, sa.func.count().label("completed"))
        .where(attempts.c.state == AttemptState.COMPLETED.value)
        .group_by(attempts.c.node_id)
    )
    completed = {row.node_id: row.completed for row in tx.connection.execute(done)}
    days = sa.select(
        node_days.c.node_id, sa.func.sum(node_days.c.jobs_completed).label("jobs"), sa.func.sum(node_days.c.earned_ucr)
    )
    by_day = {row[0]: (int(row[1]), int(row[2])) for row in tx.connection.execute(days.group_by(node_days.c.node_id))}
    for row in tx.connection.execute(sa.select(nodes.c.node_id, nodes.c.jobs_completed, nodes.c.earned_ucr)):
        books_say = earned[ledger.node_account(row.node_id)]
        if row.earned_ucr != books_say:
            yield Wrong(f"node {row.node_id} is shown with {row.earned_ucr} micro-credits earned, not {books_say}")
        if row.jobs_completed != completed.get(row.node_id, 0):
            yield Wrong(
                f"node {row.node_id} is shown with {row.jobs_completed} jobs, not {completed.get(row.node_id, 0)}"
            )
        if (row.jobs_completed, row.earned_ucr) != by_day.get(row.node_id, (0, 0)):
            yield Wrong(f"the days of node {row.node_id} do not add up to what it is shown with")


def _first(faults: Iterator[Wrong], most: int) -> list[Wrong]:
    return [fault for fault, _ in zip(faults, range(most), strict=False)]

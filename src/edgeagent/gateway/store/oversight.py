"""The whole network at a glance, for its owner: counts that indexes and kept sums answer, however much there is."""

from __future__ import annotations

import itertools
from collections import Counter

import attrs
import sqlalchemy as sa

from edgeagent.gateway import ledger
from edgeagent.gateway.earnings import DAY_S
from edgeagent.gateway.jobs import OPEN_JOBS, JobState
from edgeagent.gateway.store.ledger import balances, newest
from edgeagent.gateway.store.tables import attempts, jobs, ledger_accounts, node_days, nodes
from edgeagent.gateway.store.writer import Tx
from edgeagent.wire.messages import NodeState

#: Ended attempts, and entries of the books, that a glance looks at.
LAST_ATTEMPTS, LAST_ENTRIES = 1000, 1000
#: Days of throughput.
DAYS = 7

_NODES = sa.select(nodes.c.state, sa.func.count()).group_by(nodes.c.state)
_OPEN = (
    sa.select(jobs.c.state, jobs.c.job_type, sa.func.count())
    .where(jobs.c.state.in_([one.value for one in OPEN_JOBS]))
    .group_by(jobs.c.state, jobs.c.job_type)
)
_DONE = (
    sa.select(node_days.c.day, sa.func.sum(node_days.c.jobs_completed), sa.func.sum(node_days.c.earned_ucr))
    .where(node_days.c.day > sa.bindparam("after"))
    .group_by(node_days.c.day)
)
_LAST = sa.select(attempts.c.outcome).order_by(attempts.c.seq.desc()).limit(LAST_ATTEMPTS).subquery()
_OUTCOMES = sa.select(_LAST.c.outcome, sa.func.count()).where(_LAST.c.outcome.is_not(None)).group_by(_LAST.c.outcome)


@attrs.frozen
class Books:
    """How the ledger is: the last entry, what is wrong with it or the balances; the issuer's is minus all others."""

    entries: int
    tip: str
    issued_ucr: int
    paid_out_ucr: int
    wrong: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Glance:
    """The network at one moment; ``done`` is by day since the epoch: jobs completed, and micro-credits earned."""

    nodes: dict[str, int]
    open_jobs: dict[str, Counter[str]]  # by state, then by type
    done: dict[int, tuple[int, int]]
    outcomes: dict[str, int]
    books: Books


def glance(tx: Tx) -> Glance:
    """Return the network as it is now."""
    waiting: dict[str, Counter[str]] = {state.value: Counter() for state in JobState if state in OPEN_JOBS}
    for state, job_type, count in tx.connection.execute(_OPEN):
        waiting[state][job_type] = count
    members = {row[0]: int(row[1]) for row in tx.connection.execute(_NODES)}
    today = int(tx.now // DAY_S)
    counted = {row[0]: (int(row[1]), int(row[2])) for row in tx.connection.execute(_DONE, {"after": today - DAYS})}
    return Glance(
        nodes={state.value: members[state.value] for state in NodeState if state.value in members},
        open_jobs=waiting,
        done={day: counted.get(day, (0, 0)) for day in range(today, today - DAYS, -1)},
        outcomes=dict(sorted((outcome, count) for outcome, count in tx.connection.execute(_OUTCOMES))),
        books=_books(tx),
    )


def _books(tx: Tx) -> Books:
    wrong = []
    total = int(tx.connection.scalar(sa.select(sa.func.sum(ledger_accounts.c.balance_ucr))) or 0)
    if total:
        wrong.append(f"all balances together are {total} micro-credits, not 0")
    last = newest(tx, LAST_ENTRIES + 1)
    for before, one in itertools.pairwise(last):
        if one.seq != before.seq + 1:
            wrong.append(f"entry {before.seq + 1} is missing")
            break
        try:
            follows = one.hash == ledger.chain_hash(before.hash, one.entry, one.at)
        except ValueError as error:
            wrong.append(f"entry {one.seq}: {error}")
            break
        if not follows:
            wrong.append(f"entry {one.seq}: its hash does not follow from what it says and the entry before it")
            break
    own = balances(tx, [ledger.ISSUER, ledger.PAID_OUT])
    return Books(
        entries=last[-1].seq if last else 0,
        tip=last[-1].hash if last else ledger.FIRST_HASH,
        issued_ucr=-own.get(ledger.ISSUER, 0),
        paid_out_ucr=own.get(ledger.PAID_OUT, 0),
        wrong=tuple(wrong),
    )

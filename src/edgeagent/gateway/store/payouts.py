"""Payouts on disk: a month is gone through in batches of nodes, each a transaction that leaves table and books right.

There is one row for a node and a month, and one entry in the books for a row that was paid, under the same reference;
so a run may end anywhere and be repeated, and two runs at once make what one makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import attrs
import sqlalchemy as sa

from edgeagent.gateway import ledger, payouts
from edgeagent.gateway.earnings import DAY_S
from edgeagent.gateway.payouts import TRANSITIONS, WAITING, Decision, Owed, State
from edgeagent.gateway.rails import Batch, Outcome, Payment
from edgeagent.gateway.store import audit
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.payout_tables import IS_DUE, payout_addresses, payout_months
from edgeagent.gateway.store.payout_tables import payouts as rows
from edgeagent.gateway.store.prepared import Many
from edgeagent.gateway.store.tables import ledger_accounts, node_days, nodes
from edgeagent.gateway.store.writer import MAX_TOGETHER, Tx
from edgeagent.wire.messages import NodeState
from edgeagent.wire.units import format_credits

_LATER = (
    sa.select(sa.func.coalesce(sa.func.sum(node_days.c.earned_ucr), 0))
    .where(node_days.c.node_id == nodes.c.node_id, node_days.c.day >= sa.bindparam("end_day"))
    .scalar_subquery()
)
_OWED = (
    sa.select(
        nodes.c.seq,
        nodes.c.node_id,
        nodes.c.state.label("node_state"),
        ledger_accounts.c.balance_ucr,
        payout_addresses.c.address,
        rows.c.state,
        # Kept by day in the transactions that post, and a month ends with a day: no entry has to be looked at.
        _LATER.label("later_ucr"),
    )
    .join_from(nodes, ledger_accounts, ledger_accounts.c.account == sa.literal("node:").concat(nodes.c.node_id))
    .join(payout_addresses, payout_addresses.c.node_id == nodes.c.node_id, isouter=True)
    .join(rows, sa.and_(rows.c.node_id == nodes.c.node_id, rows.c.month == sa.bindparam("month")), isouter=True)
    .where(nodes.c.seq > sa.bindparam("after"), ledger_accounts.c.balance_ucr > 0)
    .order_by(nodes.c.seq)
    .limit(MAX_TOGETHER)
)
_ADD = Many(sa.insert(rows))
_TAKE_UP = Many(
    sa.update(rows).where(rows.c.month == sa.bindparam("of_month"), rows.c.node_id == sa.bindparam("of_node"))
)
_CHANGE = Many(
    sa.update(rows).where(
        rows.c.month == sa.bindparam("of_month"),
        rows.c.node_id == sa.bindparam("of_node"),
        rows.c.state == sa.bindparam("before"),
    )
)
_PAYMENTS = (
    sa.select(rows, nodes.c.name)
    .join_from(rows, nodes, rows.c.node_id == nodes.c.node_id)
    .where(rows.c.month == sa.bindparam("month"))
    .order_by(rows.c.batch, nodes.c.seq)
)


class NotSoError(Exception):
    """A payment is not in a state from which it could go where it was to; the text says in which it is."""


@attrs.frozen(kw_only=True)
class Looked:
    """What one batch of nodes came to; ``after`` is where the next one begins, None where there is no more."""

    after: int | None
    decided: tuple[tuple[str, Decision], ...]


@attrs.frozen(kw_only=True)
class Payout:
    """One row: how a month of a node's stands, times in seconds since the epoch."""

    month: str
    node_id: str
    name: str
    state: State
    amount_ucr: int
    batch: int
    address: str
    rail: str
    reference: str
    why: str
    made_at: float
    changed_at: float


@attrs.frozen(kw_only=True)
class Month:
    """A month's payouts together; ``done_at`` is None of one that was not gone through to the end."""

    month: str
    done_at: float | None
    nodes: dict[State, int]
    ucr: dict[State, int]


def look(tx: Tx, month: str, minimum_ucr: int, after: int) -> Looked:
    """Return what would become of a month, of the next nodes that it was not paid to.

    Raises:
        ValueError: not a month.
        MonthNotOverError: it has not ended.
    """
    end_day = int(payouts.month_end(month, tx.now) // DAY_S)
    found = tx.connection.execute(_OWED, {"month": month, "end_day": end_day, "after": after}).all()
    decided = []
    for row in found:
        if row.state is not None and row.state not in WAITING:
            continue
        revoked = row.node_state == NodeState.REVOKED.value
        owed = Owed(
            balance_ucr=row.balance_ucr, later_ucr=int(row.later_ucr), address=row.address or None, revoked=revoked
        )
        decision = payouts.decide(owed, minimum_ucr)
        if decision is not None and (row.state is None or decision.state is State.DUE):
            decided.append((row.node_id, decision))
    return Looked(after=found[-1].seq if len(found) == MAX_TOGETHER else None, decided=tuple(decided))


def make(tx: Tx, month: str, minimum_ucr: int, after: int) -> int | None:
    """Make the payouts of a month for the next nodes; return where the ones after them begin.  Raises as ``look``."""
    looked = look(tx, month, minimum_ucr, after)
    made = dict(looked.decided)
    there = set[str](tx.connection.scalars(_there(month, made))) if made else set()
    due = [node_id for node_id, decision in made.items() if decision.state is State.DUE]
    batch = _open_batch(tx, month) if due else 0
    addresses = _addresses(tx, due)
    columns = {
        node_id: {
            "state": one.state.value,
            "amount_ucr": one.amount_ucr,
            "batch": batch if one.state is State.DUE else 0,
            "address": addresses.get(node_id, ""),
            "why": one.why,
            "changed_at": tx.now,
        }
        for node_id, one in made.items()
    }
    blank = {"month": month, "rail": "", "reference": "", "made_at": tx.now}
    if new := [{**blank, "node_id": node_id, **columns[node_id]} for node_id in made if node_id not in there]:
        _ADD.run(tx, new)
    if again := [{"of_month": month, "of_node": node_id, **columns[node_id]} for node_id in made if node_id in there]:
        _TAKE_UP.run(tx, again)
    books.post_all(tx, [ledger.payout(month, node_id, made[node_id].amount_ucr) for node_id in due])
    return looked.after


def finish(tx: Tx, month: str, minimum_ucr: int, actor: str) -> None:
    """Store that a month was gone through to the last node; the first time it is in the audit log."""
    known = tx.connection.execute(sa.select(payout_months).where(payout_months.c.month == month)).one_or_none()
    if known is None:
        tx.connection.execute(sa.insert(payout_months).values(month=month, minimum_ucr=minimum_ucr, done_at=tx.now))
        summary = months(tx, month)[0]
        count = sum(summary.nodes.get(one, 0) for one in State if one not in WAITING)
        paid = sum(summary.ucr.get(one, 0) for one in State if one not in WAITING)
        audit.record(tx, actor, "payout.run", month, f"{count} nodes, {format_credits(paid)} credits")


def due(tx: Tx, month: str) -> list[Batch]:
    """Return the payments of a month that nobody was told to make, by the batch that they were made in."""
    found: dict[int, list[Payment]] = {}
    for row in tx.connection.execute(_PAYMENTS.where(rows.c.state == State.DUE.value), {"month": month}):
        payment = Payment(
            payment_id=payouts.payment_id(month, row.node_id),
            node_id=row.node_id,
            name=row.name,
            address=row.address,
            amount_ucr=row.amount_ucr,
        )
        found.setdefault(row.batch, []).append(payment)
    return [Batch(month=month, number=number, payments=tuple(each)) for number, each in found.items()]


def record(tx: Tx, month: str, rail: str, outcomes: Sequence[Outcome]) -> None:
    """Store what a rail said of payments, together; what is not DUE any more stays as it is."""
    ids = {payouts.payment_id(month, row.node_id): row for row in _states(tx, month) if row.state == State.DUE.value}
    told = {one.payment_id: one for one in outcomes if one.payment_id in ids}
    if not told:
        return
    changed = [
        {
            "of_month": month,
            "of_node": ids[one.payment_id].node_id,
            "before": State.DUE.value,
            "state": one.state.value,
            "rail": rail,
            "reference": one.reference,
            "why": one.why,
            "changed_at": tx.now,
        }
        for one in told.values()
    ]
    _CHANGE.run(tx, changed)
    failed = [one for one in told.values() if one.state is State.FAILED]
    for first in range(0, len(failed), MAX_TOGETHER):
        back = failed[first : first + MAX_TOGETHER]
        books.post_all(tx, [_return(month, ids[one.payment_id], one.why) for one in back])


def confirm(tx: Tx, month: str, node_id: str, reference: str) -> bool:
    """Store that a payment was made; return whether that is new.

    Raises:
        LookupError: there is no payment of this month to this node.
        NotSoError: it is not to be paid, or it was paid under another reference.
    """
    row = _row(tx, month, node_id)
    if row.state == State.PAID.value and row.reference == reference:
        return False
    if row.state == State.PAID.value:
        raise NotSoError(f"it was paid before, with the reference {row.reference!r}")
    _move(tx, row, State.PAID, {"reference": reference})
    return True


def fail(tx: Tx, month: str, node_id: str, why: str) -> bool:
    """Store that a payment could not be made, and give the node its credits back; return whether that is new.

    Raises as ``confirm``.
    """
    row = _row(tx, month, node_id)
    if row.state == State.FAILED.value:
        return False
    _move(tx, row, State.FAILED, {"why": why})
    books.post(tx, _return(month, row, why))
    return True


def listed(tx: Tx, month: str, state: State | None = None) -> Iterator[Payout]:
    """Return a month's rows, in the order in which its payments were made, or those in one state."""
    wanted = _PAYMENTS if state is None else _PAYMENTS.where(rows.c.state == state.value)
    for row in tx.connection.execute(wanted, {"month": month}, execution_options={"yield_per": 1000}):
        yield Payout(**{**row._mapping, "state": State(row.state)})


def months(tx: Tx, month: str | None = None) -> list[Month]:
    """Return every month that has payouts, or was gone through; oldest first; or one of them."""
    counts = sa.select(rows.c.month, rows.c.state, sa.func.count().label("nodes"), sa.func.sum(rows.c.amount_ucr))
    done = sa.select(payout_months.c.month, payout_months.c.done_at)
    if month is not None:
        counts, done = counts.where(rows.c.month == month), done.where(payout_months.c.month == month)
    nodes_of: dict[str, Counter[State]] = {}
    ucr_of: dict[str, Counter[State]] = {}
    for name, state, count, ucr in tx.connection.execute(counts.group_by(rows.c.month, rows.c.state)):
        nodes_of.setdefault(name, Counter())[State(state)] = count
        ucr_of.setdefault(name, Counter())[State(state)] = int(ucr)
    done_at = {row.month: row.done_at for row in tx.connection.execute(done)}
    return [
        Month(month=name, done_at=done_at.get(name), nodes=dict(nodes_of.get(name, {})), ucr=dict(ucr_of.get(name, {})))
        for name in sorted(nodes_of.keys() | done_at.keys())
    ]


def last_done(tx: Tx) -> str | None:
    """Return the last month that was gone through."""
    found: str | None = tx.connection.scalar(sa.select(sa.func.max(payout_months.c.month)))
    return found


def months_due(tx: Tx) -> list[str]:
    """Return the months of which there are payments that nobody was told to make."""
    return list(tx.connection.scalars(sa.select(rows.c.month).where(sa.text(IS_DUE)).distinct()))


def _open_batch(tx: Tx, month: str) -> int:
    """Return the number of the batch that new payments join: the last one, unless a rail was told of it."""
    last = tx.connection.execute(
        sa.select(rows.c.batch, sa.func.count(), sa.func.sum(sa.case((rows.c.state == State.DUE.value, 1), else_=0)))
        .where(rows.c.month == month, rows.c.batch > 0)
        .group_by(rows.c.batch)
        .order_by(rows.c.batch.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return 1
    number, count, still_due = last
    return int(number) if count == still_due else int(number) + 1


def _there(month: str, node_ids: Collection[str]) -> sa.Select[str]:
    return sa.select(rows.c.node_id).where(rows.c.month == month, rows.c.node_id.in_(node_ids))


def _addresses(tx: Tx, node_ids: Sequence[str]) -> dict[str, str]:
    found = sa.select(payout_addresses).where(payout_addresses.c.node_id.in_(node_ids))
    return {row.node_id: row.address for row in tx.connection.execute(found)} if node_ids else {}


def _states(tx: Tx, month: str) -> Sequence[Any]:
    return tx.connection.execute(sa.select(rows).where(rows.c.month == month)).all()


def _row(tx: Tx, month: str, node_id: str) -> Any:
    found = sa.select(rows).where(rows.c.month == month, rows.c.node_id == node_id)
    row = tx.connection.execute(found).one_or_none()
    if row is None:
        raise LookupError(f"there is no payout of {month} to this node")
    return row


def _move(tx: Tx, row: Any, state: State, changed: dict[str, str]) -> None:
    before = State(row.state)
    if state not in TRANSITIONS.get(before, frozenset()):
        raise NotSoError(f"it is {before.value}{', ' + row.why if row.why else ''}")
    where = {"of_month": row.month, "of_node": row.node_id, "before": before.value}
    _CHANGE.run(tx, [{**where, "state": state.value, **changed, "changed_at": tx.now}])


def _return(month: str, row: Any, why: str) -> ledger.Entry:
    return ledger.payout_return(month, row.node_id, row.amount_ucr, why)

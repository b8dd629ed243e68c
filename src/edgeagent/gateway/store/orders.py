"""What the owner decides about nodes: stored here whole, and done by running gateways when they see the order.

An order changes the rows that it is about in its own transaction, so it holds whether a gateway runs or not.  What a
gateway has in memory follows: it looks for orders after the last one that it has seen.
"""

from __future__ import annotations

import enum
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent.gateway import ledger, names
from edgeagent.gateway.registry import TRANSITIONS, Event
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store import nodes as members
from edgeagent.gateway.store.payout_tables import payout_addresses
from edgeagent.gateway.store.tables import node_orders, node_states, nodes
from edgeagent.gateway.store.writer import Tx
from edgeagent.wire.messages import NodeState


class Kind(enum.StrEnum):
    """What is ordered."""

    APPROVE = "approve"
    REVOKE = "revoke"
    VOID_TOKENS = "void tokens"
    DRAIN = "drain"
    RESUME = "resume"
    OPERATOR = "operator"  # the reason is the label of who answers for the node; empty for the node itself
    NEW_KEYS = "new keys"  # of the gateway; its tokens go on
    DROP_KEYS = "drop keys"  # of the gateway; no earlier token is good


_BATCH = 1000
#: The event that an order is for the node's health, where it is one.
_EVENTS = {Kind.APPROVE: Event.APPROVED, Kind.REVOKE: Event.REVOKED}
#: Orders that void every token of the node.
_VOIDING = frozenset({Kind.REVOKE, Kind.VOID_TOKENS})


@attrs.frozen
class Order:
    """One order; ``node_id`` is None where it is about the gateway's keys."""

    seq: int
    kind: Kind
    node_id: str | None
    reason: str


@attrs.frozen
class Member:
    """A node as the owner sees it; ``since`` in seconds since the epoch on the gateway's clock."""

    node_id: str
    name: str
    state: NodeState
    cause: str
    since: float
    drained: bool
    operator: str
    capabilities: tuple[str, ...]
    jobs_completed: int
    balance_ucr: int
    created_at: float
    public_key: str
    metadata: dict[str, Any]
    payout_address: str  # empty: none


def give(tx: Tx, kind: Kind, node_id: str | None, reason: str) -> bool:
    """Store an order and what it changes; False if there is nothing to change.

    Raises:
        LookupError: there is no such node.
    """
    if node_id is not None and not _change(tx, kind, node_id, reason):
        return False
    tx.connection.execute(sa.insert(node_orders).values(kind=kind.value, node_id=node_id, reason=reason, at=tx.now))
    return True


def after(tx: Tx, seq: int) -> list[Order]:
    """Return the orders since that one, in order."""
    rows = tx.connection.execute(sa.select(node_orders).where(node_orders.c.seq > seq).order_by(node_orders.c.seq))
    return [Order(row.seq, Kind(row.kind), row.node_id, row.reason) for row in rows]


def last(tx: Tx) -> int:
    """Return the number of the newest order, 0 before the first."""
    return tx.connection.scalar(sa.select(sa.func.max(node_orders.c.seq))) or 0


def find(tx: Tx, wanted: str) -> str:
    """Return the id of the node that has this id or name.

    Raises:
        LookupError: there is none.
    """
    by_name = nodes.c.name_key == names.key(wanted)
    found = tx.connection.scalars(sa.select(nodes.c.node_id).where(sa.or_(nodes.c.node_id == wanted, by_name))).all()
    if wanted in found or len(found) == 1:
        return wanted if wanted in found else found[0]
    raise LookupError(f"there is no node {wanted!r}")


def list_members(tx: Tx, state: NodeState | None = None) -> list[Member]:
    """Return every node, or those in one state, oldest first."""
    query = _MEMBERS if state is None else _MEMBERS.where(nodes.c.state == state.value)
    rows = tx.connection.execute(query.order_by(nodes.c.seq)).all()
    balances: dict[str, int] = {}
    for start in range(0, len(rows), _BATCH):  # a statement has room for so many parameters
        batch = rows[start : start + _BATCH]
        balances |= books.balances(tx, [ledger.node_account(row.node_id) for row in batch])
    return [_member(row, balances) for row in rows]


def show_member(tx: Tx, node_id: str) -> tuple[Member, list[tuple[str, str, float, float | None]]]:
    """Return a node, and its states so far, oldest first: state, cause, since and until."""
    row = tx.connection.execute(_MEMBERS.where(nodes.c.node_id == node_id)).one()
    balances = books.balances(tx, [ledger.node_account(node_id)])
    past = sa.select(node_states).where(node_states.c.node_id == node_id).order_by(node_states.c.seq)
    history = [(one.state, one.cause, one.since, one.until) for one in tx.connection.execute(past)]
    return _member(row, balances), history


_MEMBERS = (
    sa.select(nodes, node_states.c.cause, node_states.c.since, payout_addresses.c.address)
    .join_from(nodes, node_states, sa.and_(node_states.c.node_id == nodes.c.node_id, node_states.c.until.is_(None)))
    .join(payout_addresses, payout_addresses.c.node_id == nodes.c.node_id, isouter=True)
)


def _member(row: sa.Row[Any], balances: dict[str, int]) -> Member:
    return Member(
        node_id=row.node_id,
        name=row.name,
        state=NodeState(row.state),
        cause=row.cause,
        since=row.since,
        drained=row.drained,
        operator=row.operator,
        capabilities=tuple(orjson.loads(row.capabilities)),
        jobs_completed=row.jobs_completed,
        balance_ucr=balances.get(ledger.node_account(row.node_id), 0),
        created_at=row.created_at,
        public_key=row.public_key,
        metadata=orjson.loads(row.metadata),
        payout_address=row.address or "",
    )


def _change(tx: Tx, kind: Kind, node_id: str, reason: str) -> bool:
    row = tx.connection.execute(sa.select(nodes).where(nodes.c.node_id == node_id)).one_or_none()
    if row is None:
        raise LookupError(f"there is no node {node_id!r}")
    if kind in _EVENTS:
        state = TRANSITIONS.get((NodeState(row.state), _EVENTS[kind]))
        if state is None:
            return False
        cause = _EVENTS[kind].value
        members.set_state(tx, node_id, state, f"{cause}: {reason}" if reason else cause)
    if kind in {Kind.DRAIN, Kind.RESUME} and row.drained is (kind is Kind.DRAIN):
        return False
    if kind is Kind.OPERATOR and row.operator == reason:
        return False
    columns: dict[str, Any] = {"operator": reason} if kind is Kind.OPERATOR else {}
    if kind in {Kind.DRAIN, Kind.RESUME}:
        columns["drained"] = kind is Kind.DRAIN
    if kind in _VOIDING:
        columns["token_epoch"] = nodes.c.token_epoch + 1
    if columns:
        tx.connection.execute(sa.update(nodes).where(nodes.c.node_id == node_id).values(**columns))
    return True

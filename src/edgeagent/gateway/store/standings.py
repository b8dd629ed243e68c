"""What nodes have done and how they stood, for the leaderboard: sums that are kept, and what a window of time holds.

All that a node ever did stands in its own row, added to as it happens (``nodes.set_state``, ``credit``), so the whole
board costs one row a node and the states that ended in the last 30 days, however old the network is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent.gateway.earnings import DAY_S
from edgeagent.gateway.leaderboard import RECENT_DAYS, Standing
from edgeagent.gateway.store.prepared import Many
from edgeagent.gateway.store.tables import node_days, node_states, nodes
from edgeagent.gateway.store.writer import Tx
from edgeagent.wire.messages import NodeState

#: States of those who are no members: they wait for approval, or were revoked.
OUTSIDE = (NodeState.PENDING.value, NodeState.REVOKED.value)
_HEALTHY = NodeState.HEALTHY.value

_CREDIT = Many(
    sa.update(nodes)
    .where(nodes.c.node_id == sa.bindparam("node"))
    .values(
        jobs_completed=nodes.c.jobs_completed + sa.bindparam("jobs"),
        earned_ucr=nodes.c.earned_ucr + sa.bindparam("amount"),
    )
)
#: Both databases say it so; SQLAlchemy has a way of its own for each.
_CREDIT_DAY = Many(
    sa.text(
        "INSERT INTO node_days (node_id, day, jobs_completed, earned_ucr) VALUES (:node, :day, :jobs, :amount) "
        "ON CONFLICT (node_id, day) DO UPDATE SET jobs_completed = node_days.jobs_completed + excluded.jobs_completed, "
        "earned_ucr = node_days.earned_ucr + excluded.earned_ucr"
    )
)
_STANDINGS = (
    sa.select(
        nodes.c.seq,
        nodes.c.node_id,
        nodes.c.name,
        nodes.c.listed,
        nodes.c.state,
        nodes.c.jobs_completed,
        nodes.c.earned_ucr,
        nodes.c.healthy_s,
        nodes.c.known_s,
        nodes.c.created_at,
        node_states.c.since,
    )
    .join_from(nodes, node_states, sa.and_(node_states.c.node_id == nodes.c.node_id, node_states.c.until.is_(None)))
    .where(nodes.c.state.not_in(OUTSIDE))
    .order_by(nodes.c.seq)
)
_START: sa.BindParameter[float] = sa.bindparam("start", type_=sa.Double())
_SINCE = sa.case((node_states.c.since > _START, node_states.c.since), else_=_START)
# A clock that was set back meanwhile must not take away what other times have added.
_LASTED = sa.case((node_states.c.until > _SINCE, node_states.c.until - _SINCE), else_=0.0)
# With the empty text SQLite does not go through all states by their nodes, however old, to have them in groups.
_OF_NODE = node_states.c.node_id.concat(sa.literal_column("''"))
_RECENT = (
    sa.select(
        _OF_NODE.label("node_id"),
        sa.func.sum(sa.case((node_states.c.state == _HEALTHY, _LASTED), else_=0.0)).label("healthy_s"),
        sa.func.sum(_LASTED).label("known_s"),
    )
    .where(node_states.c.until > _START)
    .group_by(_OF_NODE)
)
_SPELLS = (
    sa.select(node_states.c.state, node_states.c.since, node_states.c.until)
    .where(
        node_states.c.node_id == sa.bindparam("node"),
        sa.or_(node_states.c.until.is_(None), node_states.c.until > _START),
    )
    .order_by(node_states.c.seq)
)
_DAYS = sa.select(node_days).where(
    node_days.c.node_id == sa.bindparam("node"), node_days.c.day >= sa.bindparam("first")
)


@attrs.frozen
class Spell:
    """A time in one state, in seconds since the epoch; ``until`` is None of the present one."""

    state: NodeState
    since: float
    until: float | None


@attrs.frozen
class Past:
    """A node's last days: its spells, and by day since the epoch the jobs it completed and what it earned."""

    state: NodeState
    capabilities: tuple[str, ...]
    spells: tuple[Spell, ...]
    days: dict[int, tuple[int, int]]


def standings(tx: Tx) -> list[Standing]:
    """Return the leaderboard's lines, as nodes registered; those that wait for approval, or were revoked, have none."""
    start = tx.now - RECENT_DAYS * DAY_S
    recent = {row.node_id: (row.healthy_s, row.known_s) for row in tx.connection.execute(_RECENT, {"start": start})}
    found = []
    for row in tx.connection.execute(_STANDINGS):
        lasts_s, recent_s = max(0.0, tx.now - row.since), max(0.0, tx.now - max(row.since, start))
        healthy = 1 if row.state == _HEALTHY else 0
        ended_healthy_s, ended_s = recent.get(row.node_id, (0.0, 0.0))
        found.append(
            Standing(
                seq=row.seq,
                node_id=row.node_id,
                name=row.name,
                listed=row.listed,
                jobs_completed=row.jobs_completed,
                earned_ucr=row.earned_ucr,
                healthy_s=row.healthy_s + healthy * lasts_s,
                known_s=row.known_s + lasts_s,
                recent_healthy_s=ended_healthy_s + healthy * recent_s,
                recent_known_s=ended_s + recent_s,
                registered_at=row.created_at,
            )
        )
    return found


def past(tx: Tx, node_id: str, days: int) -> Past | None:
    """Return the last ``days`` days of UTC of a node that is listed, today included; None of any other."""
    row = tx.connection.execute(
        sa.select(nodes.c.state, nodes.c.capabilities).where(
            nodes.c.node_id == node_id, nodes.c.listed, nodes.c.state.not_in(OUTSIDE)
        )
    ).one_or_none()
    if row is None:
        return None
    first = int(tx.now // DAY_S) - days + 1
    spells = tx.connection.execute(_SPELLS, {"node": node_id, "start": float(first * DAY_S)})
    counts = tx.connection.execute(_DAYS, {"node": node_id, "first": first})
    return Past(
        state=NodeState(row.state),
        capabilities=tuple(orjson.loads(row.capabilities)),
        spells=tuple(Spell(NodeState(one.state), one.since, one.until) for one in spells),
        days={one.day: (one.jobs_completed, one.earned_ucr) for one in counts},
    )


def credit(tx: Tx, earned_ucr: Mapping[str, Collection[int]]) -> None:
    """Count what nodes completed, with what each of the jobs earned; the money itself moves in the ledger."""
    _count(tx, [{"node": one, "jobs": len(each), "amount": sum(each)} for one, each in sorted(earned_ucr.items())])


def adjust_earned(tx: Tx, node_id: str, amount_ucr: int) -> None:
    """Count that a node has earned more or less than its jobs gave it."""
    _count(tx, [{"node": node_id, "jobs": 0, "amount": amount_ucr}])


def _count(tx: Tx, counts: list[dict[str, Any]]) -> None:
    day = int(tx.now // DAY_S)
    _CREDIT.run(tx, counts)
    _CREDIT_DAY.run(tx, [{"day": day, **one} for one in counts])

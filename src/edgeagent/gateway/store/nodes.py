"""Nodes: who they are, and how they stood over time."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent import chance
from edgeagent.gateway import ledger
from edgeagent.gateway.registry import Changed
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.prepared import Many
from edgeagent.gateway.store.tables import job_types, node_states, nodes
from edgeagent.gateway.store.writer import Tx
from edgeagent.wire.messages import NodeState

_CREDIT = Many(
    sa.update(nodes)
    .where(nodes.c.node_id == sa.bindparam("node"))
    .values(
        jobs_completed=nodes.c.jobs_completed + sa.bindparam("jobs"),
        earned_ucr=nodes.c.earned_ucr + sa.bindparam("amount"),
    )
)
_HEALTH = sa.select(nodes.c.node_id, nodes.c.state, nodes.c.failures, nodes.c.token_epoch, nodes.c.drained)
_EPOCH = sa.select(nodes.c.token_epoch).where(nodes.c.node_id == sa.bindparam("node"))
_OF_KEY = sa.select(nodes.c.node_id, nodes.c.state, nodes.c.token_epoch).where(
    nodes.c.public_key == sa.bindparam("key")
)
#: States that only the owner ends.
_OWNERS = (NodeState.PENDING.value, NodeState.REVOKED.value)


class TakenError(Exception):
    """Another node has this name or key; the text says which."""


@attrs.frozen
class Health:
    """What a restarted gateway must know of a node."""

    node_id: str
    state: NodeState
    failures: tuple[str, ...]
    token_epoch: int
    drained: bool


@attrs.frozen
class Profile:
    """A node as its operator sees it."""

    node_id: str
    name: str
    state: NodeState
    capabilities: tuple[str, ...]
    jobs_completed: int
    balance_ucr: int


@attrs.frozen
class Standing:
    """A node's line on the leaderboard.  ``healthy_s`` of ``known_s`` seconds it was HEALTHY."""

    node_id: str
    name: str
    jobs_completed: int
    earned_ucr: int
    healthy_s: float
    known_s: float


@attrs.frozen
class Applicant:
    """What a node registers with; ``public_key`` in the one way to write it."""

    name: str
    public_key: str
    capabilities: tuple[str, ...]
    metadata: dict[str, Any]


@attrs.frozen
class Known:
    """A node as its key finds it."""

    node_id: str
    state: NodeState
    token_epoch: int


def register(tx: Tx, applicant: Applicant, state: NodeState = NodeState.REGISTERED, cause: str = "registered") -> str:
    """Store a new node and return its id.

    Raises:
        TakenError: the name or the key is another node's.
    """
    _refuse_taken(tx, applicant, None)
    node_id = chance.new_id()
    tx.connection.execute(
        sa.insert(nodes).values(
            node_id=node_id,
            state=state.value,
            failures="[]",
            jobs_completed=0,
            earned_ucr=0,
            token_epoch=0,
            drained=False,
            created_at=tx.now,
            **_columns(applicant),
        )
    )
    _open_state(tx, node_id, state, cause)
    offer(tx, node_id, applicant.capabilities)
    return node_id


def replace(tx: Tx, node_id: str, proven_key: str, applicant: Applicant) -> int | None:
    """Give a node a new key, and what else it registers with; it stays the node that earned its credits.

    Args:
        proven_key: the key whose signature was checked.

    Returns:
        The epoch of the new key's tokens, which makes all earlier ones void; None if the old key is no longer the
        node's.

    Raises:
        TakenError: the name or the new key is another node's.
    """
    if public_key(tx, node_id) != proven_key:
        return None
    _refuse_taken(tx, applicant, node_id)
    changed = {**_columns(applicant), "token_epoch": nodes.c.token_epoch + 1}
    tx.connection.execute(sa.update(nodes).where(nodes.c.node_id == node_id).values(**changed))
    offer(tx, node_id, applicant.capabilities)
    return int(tx.connection.execute(_EPOCH, {"node": node_id}).scalar_one())


def rekey(tx: Tx, node_id: str, proven_key: str, new_key: str) -> tuple[int, tuple[str, ...]] | None:
    """Give a node a new key and change nothing else; returns the new epoch and the node's capabilities.

    Raises:
        TakenError: the new key is another node's.
    """
    row = tx.connection.execute(sa.select(nodes).where(nodes.c.node_id == node_id)).one_or_none()
    if row is None:
        return None
    capabilities = tuple(orjson.loads(row.capabilities))
    applicant = Applicant(row.name, new_key, capabilities, orjson.loads(row.metadata))
    epoch = replace(tx, node_id, proven_key, applicant)
    return None if epoch is None else (epoch, capabilities)


def update(tx: Tx, node_id: str, applicant: Applicant) -> None:
    """Store what a node that has proved its key registers with now.

    Raises:
        TakenError: the name is another node's.
    """
    _refuse_taken(tx, applicant, node_id)
    tx.connection.execute(sa.update(nodes).where(nodes.c.node_id == node_id).values(**_columns(applicant)))
    offer(tx, node_id, applicant.capabilities)


def of_key(tx: Tx, public_key: str) -> Known | None:
    """Return the node that has this key, in the one way to write it."""
    row = tx.connection.execute(_OF_KEY, {"key": public_key}).one_or_none()
    return None if row is None else Known(row.node_id, NodeState(row.state), row.token_epoch)


def public_key(tx: Tx, node_id: str) -> str | None:
    """Return a node's key; None if there is no such node."""
    return tx.connection.scalar(sa.select(nodes.c.public_key).where(nodes.c.node_id == node_id))


def offer(tx: Tx, node_id: str, capabilities: Iterable[str]) -> None:
    """Store what a node can do now; every job type it names exists from then on."""
    names = list(dict.fromkeys(capabilities))
    tx.connection.execute(sa.update(nodes).where(nodes.c.node_id == node_id).values(capabilities=_json(names)))
    known = set(tx.connection.scalars(sa.select(job_types.c.job_type).where(job_types.c.job_type.in_(names))))
    if new := [{"job_type": name} for name in names if name not in known]:
        tx.connection.execute(sa.insert(job_types), new)


def all_health(tx: Tx) -> list[Health]:
    """Return how every node stood when that was last stored."""
    return [_health(row) for row in tx.connection.execute(_HEALTH)]


def health(tx: Tx, node_id: str) -> Health:
    """Return how a node stood when that was last stored."""
    return _health(tx.connection.execute(_HEALTH.where(nodes.c.node_id == node_id)).one())


def record(tx: Tx, changes: Iterable[Changed]) -> None:
    """Store changes of state, each with its cause and the time.

    What the owner has decided meanwhile stands: health does not make a member of a node that is not one.
    """
    for change in changes:
        decided = tx.connection.scalar(sa.select(nodes.c.state).where(nodes.c.node_id == change.node_id))
        if decided not in _OWNERS:
            set_state(tx, change.node_id, change.state, change.cause)


def set_state(tx: Tx, node_id: str, state: NodeState, cause: str) -> None:
    """Store that a node is in this state from now on, and why."""
    ended = sa.update(node_states).where(node_states.c.node_id == node_id, node_states.c.until.is_(None))
    tx.connection.execute(ended.values(until=tx.now))
    tx.connection.execute(sa.update(nodes).where(nodes.c.node_id == node_id).values(state=state.value))
    _open_state(tx, node_id, state, cause)


def record_failures(tx: Tx, failures: dict[str, tuple[str, ...]]) -> None:
    """Store which jobs failed on nodes since they last succeeded."""
    for node_id, jobs in failures.items():
        tx.connection.execute(sa.update(nodes).where(nodes.c.node_id == node_id).values(failures=_json(jobs)))


def profile(tx: Tx, node_id: str) -> Profile:
    """Return a node as its operator sees it."""
    row = tx.connection.execute(sa.select(nodes).where(nodes.c.node_id == node_id)).one()
    account = ledger.node_account(node_id)
    return Profile(
        node_id=node_id,
        name=row.name,
        state=NodeState(row.state),
        capabilities=tuple(orjson.loads(row.capabilities)),
        jobs_completed=row.jobs_completed,
        balance_ucr=books.balances(tx, [account]).get(account, 0),
    )


def standings(tx: Tx) -> list[Standing]:
    """Return the leaderboard's lines, in no order; nodes that wait for approval, or were revoked, have none."""
    until = sa.func.coalesce(node_states.c.until, tx.now)
    # A clock that was set back meanwhile must not take away what other times have added.
    lasted = sa.case((until > node_states.c.since, until - node_states.c.since), else_=0.0)
    healthy = sa.case((node_states.c.state == NodeState.HEALTHY.value, lasted), else_=0.0)
    times = {
        row.node_id: (row.healthy_s, row.known_s)
        for row in tx.connection.execute(
            sa.select(
                node_states.c.node_id,
                sa.func.sum(healthy).label("healthy_s"),
                sa.func.sum(lasted).label("known_s"),
            ).group_by(node_states.c.node_id)
        )
    }
    rows = tx.connection.execute(
        sa.select(nodes.c.node_id, nodes.c.name, nodes.c.jobs_completed, nodes.c.earned_ucr).where(
            nodes.c.state.not_in(_OWNERS)
        )
    )
    return [Standing(row.node_id, row.name, row.jobs_completed, row.earned_ucr, *times[row.node_id]) for row in rows]


def credit(tx: Tx, earned_ucr: Mapping[str, Collection[int]]) -> None:
    """Count what nodes completed, with what each of the jobs earned; the money itself moves in the ledger."""
    _CREDIT.run(tx, [{"node": one, "jobs": len(each), "amount": sum(each)} for one, each in earned_ucr.items()])


def adjust_earned(tx: Tx, node_id: str, amount_ucr: int) -> None:
    """Count that a node has earned more or less than its jobs gave it."""
    earned = sa.update(nodes).where(nodes.c.node_id == node_id)
    tx.connection.execute(earned.values(earned_ucr=nodes.c.earned_ucr + amount_ucr))


def known_job_types(tx: Tx) -> list[str]:
    """Return every job type that a node has ever offered, sorted."""
    return sorted(tx.connection.scalars(sa.select(job_types.c.job_type)))


def name_key(name: str) -> str:
    """Return what makes two names the same to a person who reads them quickly."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _health(row: Any) -> Health:
    failures = tuple(orjson.loads(row.failures))
    return Health(row.node_id, NodeState(row.state), failures, row.token_epoch, row.drained)


def _columns(applicant: Applicant) -> dict[str, str]:
    return {
        "name": applicant.name,
        "name_key": name_key(applicant.name),
        "public_key": applicant.public_key,
        "capabilities": _json(applicant.capabilities),
        "metadata": _json(applicant.metadata),
    }


def _refuse_taken(tx: Tx, applicant: Applicant, own_id: str | None) -> None:
    for column, value, what in (
        (nodes.c.name_key, name_key(applicant.name), f"the name {applicant.name!r} is in use; choose another"),
        (
            nodes.c.public_key,
            applicant.public_key,
            "this key is already registered; prove that it is yours, or make a new one",
        ),
    ):
        other = tx.connection.scalar(sa.select(nodes.c.node_id).where(column == value))
        if other is not None and other != own_id:
            raise TakenError(what)


def _open_state(tx: Tx, node_id: str, state: NodeState, cause: str) -> None:
    tx.connection.execute(sa.insert(node_states).values(node_id=node_id, state=state.value, cause=cause, since=tx.now))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()

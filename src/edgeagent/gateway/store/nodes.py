"""Nodes: who they are, and how they stood over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent import chance
from edgeagent.gateway import ledger, names
from edgeagent.gateway.registry import Changed
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.standings import OUTSIDE
from edgeagent.gateway.store.tables import job_types, node_keys, node_states, nodes
from edgeagent.gateway.store.writer import Tx
from edgeagent.wire.messages import NodeState

_HEALTH = sa.select(
    nodes.c.node_id, nodes.c.state, nodes.c.failures, nodes.c.token_epoch, nodes.c.drained, nodes.c.operator
)
_EPOCH = sa.select(nodes.c.token_epoch).where(nodes.c.node_id == sa.bindparam("node"))
_OF_KEY = sa.select(nodes.c.node_id, nodes.c.state, nodes.c.token_epoch).where(
    nodes.c.public_key == sa.bindparam("key")
)


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
    operator: str = ""


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


def register(
    tx: Tx,
    applicant: Applicant,
    state: NodeState = NodeState.REGISTERED,
    cause: str = "registered",
    operator: str = "",
) -> str:
    """Store a new node, of the operator with this label, and return its id.

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
            listed=True,
            operator=operator,
            healthy_s=0.0,
            known_s=0.0,
            created_at=tx.now,
            **_columns(applicant),
        )
    )
    _open_state(tx, node_id, state, cause)
    _keep_key(tx, node_id, applicant.public_key)
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
    _keep_key(tx, node_id, applicant.public_key)
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
    offered = list(dict.fromkeys(capabilities))
    tx.connection.execute(sa.update(nodes).where(nodes.c.node_id == node_id).values(capabilities=_json(offered)))
    known = set(tx.connection.scalars(sa.select(job_types.c.job_type).where(job_types.c.job_type.in_(offered))))
    if new := [{"job_type": name} for name in offered if name not in known]:
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
        if decided not in OUTSIDE:
            set_state(tx, change.node_id, change.state, change.cause)


def set_state(tx: Tx, node_id: str, state: NodeState, cause: str) -> None:
    """Store that a node is in this state from now on, and why."""
    present = (node_states.c.node_id == node_id, node_states.c.until.is_(None))
    ended = tx.connection.execute(sa.select(node_states.c.state, node_states.c.since).where(*present)).one()
    tx.connection.execute(sa.update(node_states).where(*present).values(until=tx.now))
    # A clock that was set back meanwhile must not take away what other times have added.
    lasted_s = max(0.0, tx.now - ended.since)
    healthy_s = lasted_s if ended.state == NodeState.HEALTHY.value else 0.0
    tx.connection.execute(
        sa.update(nodes)
        .where(nodes.c.node_id == node_id)
        .values(state=state.value, known_s=nodes.c.known_s + lasted_s, healthy_s=nodes.c.healthy_s + healthy_s)
    )
    _open_state(tx, node_id, state, cause)


def record_failures(tx: Tx, failures: Mapping[str, tuple[str, ...]]) -> None:
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


def appearance(tx: Tx, node_id: str) -> tuple[str, bool]:
    """Return what a node is called, and whether it is listed on the leaderboard."""
    row = tx.connection.execute(sa.select(nodes.c.name, nodes.c.listed).where(nodes.c.node_id == node_id)).one()
    return row.name, row.listed


def appear(tx: Tx, node_id: str, name: str | None, listed: bool | None) -> bool:
    """Call a node something else, list it on the leaderboard or no longer; None leaves it.  Return whether it is new.

    Raises:
        TakenError: the name is another node's.
    """
    before = appearance(tx, node_id)
    columns: dict[str, Any] = {}
    if name is not None and name != before[0]:
        _refuse_name(tx, name, node_id)
        columns |= {"name": name, "name_key": names.key(name)}
    if listed is not None and listed is not before[1]:
        columns["listed"] = listed
    if columns:
        tx.connection.execute(sa.update(nodes).where(nodes.c.node_id == node_id).values(**columns))
    return bool(columns)


def known_job_types(tx: Tx) -> list[str]:
    """Return every job type that a node has ever offered, sorted."""
    return sorted(tx.connection.scalars(sa.select(job_types.c.job_type)))


def _health(row: Any) -> Health:
    failures = tuple(orjson.loads(row.failures))
    return Health(row.node_id, NodeState(row.state), failures, row.token_epoch, row.drained, row.operator)


def _columns(applicant: Applicant) -> dict[str, str]:
    return {
        "name": applicant.name,
        "name_key": names.key(applicant.name),
        "public_key": applicant.public_key,
        "capabilities": _json(applicant.capabilities),
        "metadata": _json(applicant.metadata),
    }


def _refuse_taken(tx: Tx, applicant: Applicant, own_id: str | None) -> None:
    _refuse_name(tx, applicant.name, own_id)
    other = tx.connection.scalar(sa.select(nodes.c.node_id).where(nodes.c.public_key == applicant.public_key))
    if other is not None and other != own_id:
        raise TakenError("this key is already registered; prove that it is yours, or make a new one")


def _refuse_name(tx: Tx, name: str, own_id: str | None) -> None:
    other = tx.connection.scalar(sa.select(nodes.c.node_id).where(nodes.c.name_key == names.key(name)))
    if other is not None and other != own_id:
        raise TakenError(f"the name {name!r} is in use; choose another")


def _open_state(tx: Tx, node_id: str, state: NodeState, cause: str) -> None:
    tx.connection.execute(sa.insert(node_states).values(node_id=node_id, state=state.value, cause=cause, since=tx.now))


def _keep_key(tx: Tx, node_id: str, public_key: str) -> None:
    tx.connection.execute(sa.insert(node_keys).values(node_id=node_id, public_key=public_key, since=tx.now))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()

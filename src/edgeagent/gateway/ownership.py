"""What the owner does to nodes and keys at a terminal; see ``gateway.data`` for why it needs no running gateway."""

from __future__ import annotations

from edgeagent.errors import EdgeAgentError
from edgeagent.gateway import auth, bell, keyring
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import owner, transaction
from edgeagent.gateway.store import admission, audit, checks, orders
from edgeagent.gateway.store.admission import JoinToken
from edgeagent.gateway.store.base import wall_clock
from edgeagent.gateway.store.checks import Name
from edgeagent.gateway.store.orders import Kind, Member
from edgeagent.gateway.texts import one_line
from edgeagent.wire.identity import key_id, public_key_of
from edgeagent.wire.messages import NodeState

#: A node's states so far, oldest first: state, cause, since and until, in seconds since the epoch.
History = list[tuple[str, str, float, float | None]]


def order(place: GatewaySettings, kind: Kind, wanted: str, reason: str = "") -> tuple[Member, bool]:
    """Do this to the node of that id or name; return how it stands then, and whether that changed anything.

    Raises:
        EdgeAgentError: there is no such node, or the database cannot be used.
    """
    with transaction(place) as tx:
        try:
            node_id = orders.find(tx, wanted)
        except LookupError as error:
            raise EdgeAgentError(f"{error.args[0]}; see: edgeagent gateway nodes list") from None
        reason = one_line(reason, 200)
        changed = orders.give(tx, kind, node_id, reason)
        if changed:
            audit.record(tx, owner(), f"node.{kind.value.replace(' ', '-')}", node_id, reason)
        member = orders.show_member(tx, node_id)[0]
    bell.ring(place.data_dir)
    return member, changed


def show(place: GatewaySettings, wanted: str) -> tuple[Member, History]:
    """Return the node of that id or name, and its states so far.  Raises as ``order``."""
    with transaction(place) as tx:
        try:
            return orders.show_member(tx, orders.find(tx, wanted))
        except LookupError as error:
            raise EdgeAgentError(f"{error.args[0]}; see: edgeagent gateway nodes list") from None


def names(place: GatewaySettings, node_id: str) -> list[Name]:
    """Return how a node's results stood up where they were compared."""
    with transaction(place) as tx:
        return checks.names(tx, node_id)


def list_nodes(place: GatewaySettings, state: NodeState | None) -> list[Member]:
    """Return every node, or those in one state, oldest first."""
    with transaction(place) as tx:
        return orders.list_members(tx, state)


def create_join_token(place: GatewaySettings, uses: int | None, life_s: float | None, operator: str = "") -> str:
    """Make a token that lets so many nodes join within so many seconds, and return it; only its hash is kept.

    Args:
        operator: the label of whoever gets it; the nodes belong together then. Empty: each stands for itself.
    """
    token = auth.new_join_token()
    with transaction(place) as tx:
        admission.add_join_token(tx, auth.token_sha256(token), uses, life_s, operator)
        whose = f"operator {operator}" if operator else ""
        audit.record(tx, owner(), "join-token.create", auth.token_sha256(token)[:12], whose)
    return token


def list_join_tokens(place: GatewaySettings) -> list[JoinToken]:
    """Return what may be seen of the join tokens, oldest first."""
    with transaction(place) as tx:
        return admission.all_join_tokens(tx)


def revoke_join_token(place: GatewaySettings, name: str) -> None:
    """Make a join token void.

    Raises:
        EdgeAgentError: there is none of that name.
    """
    with transaction(place) as tx:
        if not admission.remove_join_token(tx, name):
            raise EdgeAgentError(f"there is no join token {name!r}; see: edgeagent gateway nodes join-token list")
        audit.record(tx, owner(), "join-token.revoke", name)


def rotate_keys(place: GatewaySettings, *, drop: bool) -> str:
    """Give the gateway a new signing key, and return its ``kid``; with ``drop`` no earlier token is good any more."""
    with transaction(place) as tx:  # one rotation at a time; the order is seen once the files are there
        keys = keyring.rotate(place.data_dir, wall_clock(), drop=drop)
        orders.give(tx, Kind.DROP_KEYS if drop else Kind.NEW_KEYS, None, "")
        kid = key_id(public_key_of(keys.signing))
        audit.record(tx, owner(), "keys.rotate", kid, "dropped the old ones" if drop else "")
    bell.ring(place.data_dir)
    return kid

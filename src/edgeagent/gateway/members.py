"""Who is a node of this gateway: registration, tokens, keys, and what the owner decides.

The store comes first here too: what is remembered in memory (each node's token epoch, who is drained) can be read again
at any time.  The owner's orders come by way of the store, from a command in another process or from this one, and are
done when ``ordered`` is woken, or at the next look: so they hold without a running gateway, and reach one at once.
"""

from __future__ import annotations

import attrs
import structlog
import trio

from edgeagent.gateway import auth, keyring
from edgeagent.gateway.auth import NodeTokens
from edgeagent.gateway.config import GatewaySettings, Registration
from edgeagent.gateway.network import Network
from edgeagent.gateway.store import Store, Tx, admission, audit, nodes, orders
from edgeagent.gateway.store.nodes import Applicant
from edgeagent.gateway.store.orders import Kind, Order
from edgeagent.gateway.wake import Wake
from edgeagent.wire.identity import InvalidTokenError, NodeClaims, key_id, replacement_proof, verify
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Drain, NodeState

log = structlog.get_logger()

#: Orders before the newest one that are looked at again: two commands at once may be stored in either order.
LOOK_BACK = 64


class NotAdmittedError(Exception):
    """This gateway does not take the node; the text says why."""


@attrs.frozen(kw_only=True)
class Proof:
    """A challenge of this gateway's, and its signature in hex by the key that is to be proved."""

    challenge: str
    signature: str


@attrs.frozen
class Admitted:
    """A node that may have a token: with which epoch, and how it stands.  ``fresh`` where it is a new one."""

    node_id: str
    epoch: int
    state: NodeState
    fresh: bool = False
    operator: str = ""  # a new one's label, see gateway.trust


@attrs.define(eq=False)
class Members:
    """The nodes of one gateway."""

    settings: GatewaySettings
    store: Store
    tokens: NodeTokens
    network: Network
    ordered: Wake = attrs.field(factory=Wake, init=False)
    _epochs: dict[str, int] = attrs.Factory(dict)  # of nodes whose tokens were made void at least once
    _drained: set[str] = attrs.Factory(set)
    _newest: int = 0
    _done: set[int] = attrs.Factory(set)

    async def load(self) -> None:
        """Remember what the store knows from before."""
        now = trio.current_time()
        self._newest = await self.store.read(orders.last)
        self._done = set(range(max(0, self._newest - LOOK_BACK), self._newest + 1))
        for node in await self.store.read(nodes.all_health):
            self.network.registry.add(node.node_id, now, node.state, node.failures)
            self._note(node)

    # Coming in

    async def register(self, applicant: Applicant, join_token: str | None = None) -> Admitted:
        """Register a new node.

        Raises:
            NotAdmittedError: this gateway wants a join token, and this is none.
            TakenError: as ``store.nodes.register``; for a known key, its owner is to prove that it is theirs.
        """
        admitted = await self.store.write(_register, applicant, join_token, self.settings.registration)
        self.network.registry.add(admitted.node_id, trio.current_time(), admitted.state)
        self.network.operated(admitted.node_id, admitted.operator)
        return admitted

    async def prove(self, public_key: str, proof: Proof, applicant: Applicant | None = None) -> Admitted | None:
        """Admit the node whose key this is, and store what it registers with, if anything; None if it is no node's.

        Raises:
            NotAdmittedError: the challenge is not this gateway's, not for this key, too old or used; the signature is
                wrong; or the node was revoked.
            TakenError: its new name is another node's.
        """
        challenge = self.tokens.proves(public_key, proof.challenge, proof.signature)
        if challenge is None:
            raise NotAdmittedError("the challenge has ended, is not for this key, or its signature is wrong")
        known = await self.store.write(_prove, public_key, challenge.text, challenge.until, applicant)
        return None if known is None else Admitted(known.node_id, known.token_epoch, known.state)

    async def replace(self, node_id: str, signature: str, applicant: Applicant) -> Admitted:
        """Give a node a new key, and what else it registers with, because its present key has signed for it.

        Whoever has the old key, or a token from its time, is out.

        Raises:
            NotAdmittedError: that is not the present key's signature, or the node was revoked.
            TakenError: the name or the new key is another node's.
        """
        known = await self._check_replacement(node_id, signature, applicant.public_key)
        return self._replaced(node_id, await self.store.write(_replace, node_id, known, applicant))

    async def rekey(self, node_id: str, signature: str, new_key: str) -> tuple[Admitted, tuple[str, ...]]:
        """Give a node a new key and change nothing else; returns its capabilities too.  Raises as ``replace``."""
        known = await self._check_replacement(node_id, signature, new_key)
        done = await self.store.write(_rekey, node_id, known, new_key)
        epoch, capabilities = done if done is not None else (None, ())
        return self._replaced(node_id, epoch), capabilities

    def authenticate(self, token: str) -> NodeClaims:
        """Return which node a token is of.

        Raises:
            InvalidTokenError: it is none of this gateway's for a node that it knows; the text says why.
        """
        claims = self.tokens.check(token)
        if claims.node_id not in self.network.registry:
            raise InvalidTokenError("this gateway does not know the node; register again")
        if self.network.registry[claims.node_id].state is NodeState.REVOKED:
            raise InvalidTokenError("the node was revoked")
        if claims.epoch < self._epochs.get(claims.node_id, 0):
            raise InvalidTokenError("the token was revoked, or is not of the node's present key")
        return claims

    async def _check_replacement(self, node_id: str, signature: str, new_key: str) -> str:
        if node_id in self.network.registry and self.network.registry[node_id].state is NodeState.REVOKED:
            raise NotAdmittedError("the node was revoked")
        known = await self.store.read(nodes.public_key, node_id)
        if known is None or not verify(known, replacement_proof(node_id, new_key), signature):
            raise NotAdmittedError(
                "the signature is not that of the node's present key; register as a new node instead"
            )
        return known

    def _replaced(self, node_id: str, epoch: int | None) -> Admitted:
        if epoch is None:
            raise NotAdmittedError("the node's key was replaced in the meantime")
        self._epochs[node_id] = epoch
        self._close(node_id, "the node has a new key")
        return Admitted(node_id, epoch, self.network.registry[node_id].state)

    # The owner

    def is_drained(self, node_id: str) -> bool:
        """Return whether the owner wants this node to get no more work."""
        return node_id in self._drained

    async def obey(self) -> bool:
        """Do what the owner has ordered since the last call; return whether there was anything."""
        found = await self.store.read(orders.after, max(0, self._newest - LOOK_BACK))
        new = [order for order in found if order.seq not in self._done]
        for order in new:
            if order.node_id is None:
                self._change_keys(order)
            else:
                self._apply(order, await self.store.read(nodes.health, order.node_id))
            log.info("Order done", kind=order.kind.value, node_id=order.node_id, reason=order.reason)
            self._done.add(order.seq)
            self._newest = max(self._newest, order.seq)
        self._done = {seq for seq in self._done if seq >= self._newest - LOOK_BACK}
        return bool(new)

    def _apply(self, order: Order, node: nodes.Health) -> None:
        """Make memory agree with what is stored, and tell the node what it has to know."""
        node_id, registry = node.node_id, self.network.registry
        now = trio.current_time()
        if node_id not in registry:  # registered with another process of this gateway's
            registry.add(node_id, now, node.state, node.failures)
        self._note(node)
        if order.kind in {Kind.APPROVE, Kind.REVOKE}:
            registry.decided(node_id, node.state)
        match order.kind:
            case Kind.REVOKE:
                self._close(
                    node_id, f"the node was revoked: {order.reason}" if order.reason else "the node was revoked"
                )
                self.network.give_up(node_id, now)
            case Kind.VOID_TOKENS:
                self._close(node_id, "the token was revoked")
            case Kind.DRAIN | Kind.RESUME:
                self.network.drain(node_id, node.drained)
                session = self.network.session(node_id)
                if session is not None and node.drained:
                    session.send(Drain(reason=order.reason or "the gateway's owner wants no more work done here"))

    def _change_keys(self, order: Order) -> None:
        self.tokens.use(keyring.load(self.settings.data_dir))  # two small files, once in a while
        if order.kind is Kind.DROP_KEYS:
            # Some of the links may stand on tokens of the old key: each has to show a token again.
            for session in self.network.sessions():
                session.close(CloseCode.RESTARTING, "the gateway has a new key")

    def _note(self, node: nodes.Health) -> None:
        if node.token_epoch:
            self._epochs[node.node_id] = node.token_epoch
        (self._drained.add if node.drained else self._drained.discard)(node.node_id)
        self.network.operated(node.node_id, node.operator)

    def _close(self, node_id: str, reason: str) -> None:
        session = self.network.session(node_id)
        if session is not None:
            session.close(CloseCode.AUTHENTICATION_FAILED, reason)


def _register(tx: Tx, applicant: Applicant, join_token: str | None, mode: Registration) -> Admitted:
    operator = None if join_token is None else admission.use_join_token(tx, auth.token_sha256(join_token))
    invited = operator is not None
    if mode is Registration.TOKEN and not invited:
        what = (
            "a join token is needed to register here" if join_token is None else "the join token is not good (any more)"
        )
        raise NotAdmittedError(f"{what}; ask the gateway's owner for one")
    if mode is Registration.APPROVAL and not invited:
        state, cause = NodeState.PENDING, "registered; waits for approval"
    else:
        state, cause = NodeState.REGISTERED, "registered"
    label = operator or ""
    node_id = nodes.register(tx, applicant, state, cause, label)
    ticket = f", join token {auth.token_sha256(join_token)[:12]}" if invited and join_token is not None else ""
    ticket += f", operator {label}" if label else ""
    audit.record(tx, f"node {node_id}", "node.register", node_id, f"as {applicant.name}, {state.value}{ticket}")
    return Admitted(node_id, 0, state, fresh=True, operator=label)


def _replace(tx: Tx, node_id: str, proven_key: str, applicant: Applicant) -> int | None:
    epoch = nodes.replace(tx, node_id, proven_key, applicant)
    if epoch is not None:
        _record_new_key(tx, node_id, applicant.public_key)
    return epoch


def _rekey(tx: Tx, node_id: str, proven_key: str, new_key: str) -> tuple[int, tuple[str, ...]] | None:
    done = nodes.rekey(tx, node_id, proven_key, new_key)
    if done is not None:
        _record_new_key(tx, node_id, new_key)
    return done


def _record_new_key(tx: Tx, node_id: str, new_key: str) -> None:
    audit.record(tx, f"node {node_id}", "node.rotate-key", node_id, f"key {key_id(new_key)}")


def _prove(tx: Tx, public_key: str, challenge: str, until: float, applicant: Applicant | None) -> nodes.Known | None:
    if not admission.use_challenge(tx, challenge, until):
        raise NotAdmittedError("the challenge was used already; get a new one")
    known = nodes.of_key(tx, public_key)
    if known is not None and known.state is NodeState.REVOKED:
        raise NotAdmittedError("the node was revoked")
    if known is not None and applicant is not None:
        nodes.update(tx, known.node_id, applicant)
    return known

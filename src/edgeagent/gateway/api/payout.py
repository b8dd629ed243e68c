"""REST for where a node's operator wants to be paid: set by the node's key, not by its token, which travels more.

The signature is over a challenge of this gateway's, which is good once, the node and the address; so nobody who has
seen one can set an earlier address again, and a token that leaked cannot turn the payments aside.
"""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from edgeagent.gateway.api.bodies import Hex, PublicKey
from edgeagent.gateway.api.describe import NODE
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.guards import Node, TheHub, nodes_only
from edgeagent.gateway.api.nodes import MAX_BODY_BYTES, public_key_of
from edgeagent.gateway.api.throttles import proving
from edgeagent.gateway.store import Tx, admission, audit, nodes, payout_addresses
from edgeagent.wire import identity, payout_address
from edgeagent.wire.messages import NodeState


class PayoutAddress(Struct):
    """Where a node's operator wants to be paid; an empty address takes it away.

    ``signature`` is the node's key's, over the challenge, the node's id and the address (docs/gateway.md).
    """

    public_key: PublicKey
    address: Annotated[str, Meta(max_length=payout_address.MAX_CHARS)]
    challenge: Hex
    signature: Hex


class NodePayoutAddress(Struct):
    """Where a node's operator is paid, by the ends of the address; null where nowhere."""

    node_id: str
    address: str | None
    since_s: float | None


class _RefusedError(Exception):
    """The key does not set an address; the text says why."""


@post(
    "/nodes/payout-address",
    status_code=200,
    guards=[proving],
    request_max_body_size=MAX_BODY_BYTES,
    responses=problems(403, 422, 429),
    tags=["nodes"],
)
async def change_payout_address(data: JSONBody[PayoutAddress], hub: TheHub) -> NodePayoutAddress:
    """Set where a node's operator is paid; its present key has signed for it."""
    public_key = public_key_of(data.public_key)
    try:
        address = payout_address.check(data.address) if data.address else ""
    except ValueError as error:
        raise refuse(422, str(error)) from None
    challenge = hub.tokens.challenged(public_key, data.challenge)
    if challenge is None:
        raise refuse(403, "the challenge has ended, or is not for this key; get a new one")
    try:
        return await hub.store.write(_change, public_key, address, data.signature, challenge.text, challenge.until)
    except _RefusedError as error:
        raise refuse(403, str(error)) from None


@get("/nodes/me/payout-address", guards=[nodes_only], security=[{NODE: []}], tags=["nodes"])
async def payout_address_of(node: Node, hub: TheHub) -> NodePayoutAddress:
    """Show a node where its operator is paid; of the address only its ends."""
    return await hub.store.read(_show, node.node_id)


def _change(tx: Tx, public_key: str, address: str, signature: str, challenge: str, until: float) -> NodePayoutAddress:
    known = nodes.of_key(tx, public_key)
    if known is None:
        raise _RefusedError("this key is no node's here; register it")
    if known.state is NodeState.REVOKED:
        raise _RefusedError("the node was revoked")
    if not identity.verify(public_key, payout_address.proof(known.node_id, challenge, address), signature):
        raise _RefusedError("the signature is not that of the node's present key over this address")
    if not admission.use_challenge(tx, challenge, until):
        raise _RefusedError("the challenge was used already; get a new one")
    if payout_addresses.change(tx, known.node_id, address):
        detail = payout_address.masked(address) if address else "none"
        audit.record(tx, f"node {known.node_id}", "node.payout-address", known.node_id, detail)
    return _show(tx, known.node_id)


def _show(tx: Tx, node_id: str) -> NodePayoutAddress:
    found = payout_addresses.current(tx, node_id)
    if found is None:
        return NodePayoutAddress(node_id, None, None)
    address, since = found
    return NodePayoutAddress(node_id, payout_address.masked(address), max(0.0, tx.now - since))

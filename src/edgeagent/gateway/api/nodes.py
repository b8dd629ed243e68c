"""REST for nodes: register, say that one is alive, look at oneself."""

from __future__ import annotations

from typing import Any

import orjson
from litestar import Controller, get, post
from litestar.params import JSONBody

from edgeagent.gateway.api.bodies import Acknowledged, NodeProfile, Registered, Registration, RestHeartbeat
from edgeagent.gateway.api.errors import refuse
from edgeagent.gateway.api.guards import Node, TheHub, nodes_only
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.store import nodes
from edgeagent.wire.identity import InvalidKeyError, normalise_public_key, replacement_proof, verify

#: Largest ``metadata``, in bytes of JSON.
MAX_METADATA_BYTES = 4096


class NodesController(Controller):
    """Everything under ``/nodes``."""

    path = "/nodes"

    @post("/register", status_code=201)
    async def register(self, data: JSONBody[Registration], hub: TheHub) -> Registered:
        """Register a node, or give one a new key."""
        applicant = _applicant(data)
        try:
            if data.replaces is None:
                node_id = await hub.register(applicant)
            else:
                node_id = await _replace(hub, data, applicant)
        except nodes.TakenError as error:
            raise refuse(409, str(error)) from None
        token = hub.tokens.issue(node_id, applicant.capabilities)
        return Registered(node_id, token, hub.network.registry[node_id].state.value)

    @get("/me", guards=[nodes_only])
    async def me(self, node: Node, hub: TheHub) -> NodeProfile:
        """Show a node what the gateway knows of it."""
        profile = await hub.store.read(nodes.profile, node.node_id)
        return NodeProfile(
            node_id=profile.node_id,
            name=profile.name,
            status=profile.state.value,
            capabilities=list(profile.capabilities),
            jobs_completed=profile.jobs_completed,
            balance_ucr=profile.balance_ucr,
        )

    @post("/heartbeat", status_code=200, guards=[nodes_only])
    async def heartbeat(self, data: JSONBody[RestHeartbeat], node: Node, hub: TheHub) -> Acknowledged:
        """Hear a node that has no link."""
        await hub.heard(node.node_id)
        return Acknowledged(node.node_id, hub.network.registry[node.node_id].state.value)


def _applicant(data: Registration) -> nodes.Applicant:
    if not data.name.isprintable() or not data.name.strip():
        raise refuse(422, "a node's name has 1 to 100 printable characters")
    try:
        public_key = normalise_public_key(data.public_key)
    except InvalidKeyError as error:
        raise refuse(422, f"public_key is {error}") from None
    capabilities = tuple(dict.fromkeys(data.capabilities))
    if not all(one.isprintable() for one in capabilities):
        raise refuse(422, "a capability has 1 to 100 printable characters")
    return nodes.Applicant(data.name.strip(), public_key, capabilities, _small(data.metadata))


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(orjson.dumps(metadata))
    except TypeError as error:
        raise refuse(422, f"metadata: {error}") from None
    if size > MAX_METADATA_BYTES:
        raise refuse(422, f"metadata is {size} bytes of JSON; at most {MAX_METADATA_BYTES} are kept")
    return metadata


async def _replace(hub: Hub, data: Registration, applicant: nodes.Applicant) -> str:
    assert data.replaces is not None
    node_id, signature = data.replaces.node_id, data.replaces.signature
    known = await hub.store.read(nodes.public_key, node_id)
    proof = replacement_proof(node_id, applicant.public_key)
    if known is None or not verify(known, proof, signature):
        raise refuse(403, "the signature is not that of the node's present key; register as a new node instead")
    if not await hub.replace(node_id, known, applicant):
        raise refuse(403, "the node's key was replaced in the meantime")
    return node_id

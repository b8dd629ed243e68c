"""REST for nodes: register, say that one is alive, look at oneself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from litestar import Controller, Response, get, post
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from edgeagent.gateway import names
from edgeagent.gateway.api.bodies import (
    Acknowledged,
    ChallengeBody,
    KeyOnly,
    KeyProof,
    KeyRotation,
    NodeProfile,
    Registered,
    Registration,
    RestHeartbeat,
)
from edgeagent.gateway.api.describe import NODE
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.guards import Node, TheHub, nodes_only
from edgeagent.gateway.api.throttles import joining, proving
from edgeagent.gateway.challenges import LIFE_S
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.members import Admitted, NotAdmittedError, Proof
from edgeagent.gateway.store import nodes
from edgeagent.wire.identity import InvalidKeyError, normalise_public_key

#: Largest body of a request, in bytes: a name, a key in PEM, at most 64 job types and the metadata.
MAX_BODY_BYTES = 64 << 10
#: Largest ``metadata``, in bytes of JSON.
MAX_METADATA_BYTES = 4096

_AGAIN = ResponseSpec(Registered, generate_examples=False, description="It was registered before, and proved its key")


class NodesController(Controller):
    """Everything under ``/nodes``."""

    path = "/nodes"
    request_max_body_size = MAX_BODY_BYTES
    tags = ["nodes"]  # noqa: RUF012 -- Litestar's way

    @post(
        "/register",
        status_code=201,
        guards=[joining],
        responses={200: _AGAIN, **problems(403, 409, 429)},
    )
    async def register(self, data: JSONBody[Registration], hub: TheHub) -> Response[Registered]:
        """Register a node; one whose key is known has to prove it, or to have its present key sign for the new one."""
        applicant = _applicant(data)
        with _refusals():
            if data.replaces is not None:
                replaced = data.replaces
                admitted = await hub.members.replace(replaced.node_id, replaced.signature, applicant)
            elif data.challenge is not None:
                admitted = await _proven(hub, data, applicant)
            else:
                admitted = await hub.members.register(applicant, data.join_token)
        body = _registered(hub, admitted, applicant.public_key, applicant.capabilities)
        return Response(body, status_code=201 if admitted.fresh or data.replaces else 200)

    @post("/challenge", status_code=201, guards=[proving], responses=problems(429))
    async def challenge(self, data: JSONBody[KeyOnly], hub: TheHub) -> ChallengeBody:
        """Make a challenge for a key, known or not."""
        return ChallengeBody(hub.members.tokens.challenge(public_key_of(data.public_key)).text, LIFE_S)

    @post("/token", status_code=200, guards=[proving], responses=problems(403, 429))
    async def token(self, data: JSONBody[KeyProof], hub: TheHub) -> Registered:
        """Give a node that proves its key a fresh token, and change nothing."""
        public_key = public_key_of(data.public_key)
        with _refusals():
            admitted = await hub.members.prove(public_key, Proof(challenge=data.challenge, signature=data.signature))
        if admitted is None:
            raise refuse(403, "this key is no node's here; register it")
        profile = await hub.store.read(nodes.profile, admitted.node_id)
        return _registered(hub, admitted, public_key, profile.capabilities)

    @post("/rotate-key", status_code=200, guards=[proving], responses=problems(403, 409, 429))
    async def rotate_key(self, data: JSONBody[KeyRotation], hub: TheHub) -> Registered:
        """Give a node a new key, for which its present one has signed."""
        public_key = public_key_of(data.public_key)
        with _refusals():
            admitted, capabilities = await hub.members.rekey(data.node_id, data.signature, public_key)
        return _registered(hub, admitted, public_key, capabilities)

    @get("/me", guards=[nodes_only], security=[{NODE: []}])
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

    @post("/heartbeat", status_code=200, guards=[nodes_only], security=[{NODE: []}])
    async def heartbeat(self, data: JSONBody[RestHeartbeat], node: Node, hub: TheHub) -> Acknowledged:
        """Hear a node that has no link."""
        await hub.heard(node.node_id)
        return Acknowledged(node.node_id, hub.network.registry[node.node_id].state.value)


def node_name(text: str) -> str:
    """Return a name that a node may have.

    Raises:
        HTTPException: nobody could read it.
    """
    if not text.isprintable() or names.shown(text) == names.NAMELESS:
        raise refuse(422, "a node's name has 1 to 100 printable characters")
    return text.strip()


def _applicant(data: Registration) -> nodes.Applicant:
    name = node_name(data.name)
    public_key = public_key_of(data.public_key)
    capabilities = tuple(dict.fromkeys(data.capabilities))
    if not all(one.isprintable() for one in capabilities):
        raise refuse(422, "a capability has 1 to 100 printable characters")
    return nodes.Applicant(name, public_key, capabilities, _small(data.metadata))


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(orjson.dumps(metadata))
    except TypeError as error:
        raise refuse(422, f"metadata: {error}") from None
    if size > MAX_METADATA_BYTES:
        raise refuse(422, f"metadata is {size} bytes of JSON; at most {MAX_METADATA_BYTES} are kept")
    return metadata


def public_key_of(pem: str) -> str:
    """Return a public key in the one way to write it.

    Raises:
        HTTPException: it is none.
    """
    try:
        return normalise_public_key(pem)
    except InvalidKeyError as error:
        raise refuse(422, f"public_key is {error}") from None


async def _proven(hub: Hub, data: Registration, applicant: nodes.Applicant) -> Admitted:
    assert data.challenge is not None
    proof = Proof(challenge=data.challenge, signature=data.signature or "")
    known = await hub.members.prove(applicant.public_key, proof, applicant)
    return known or await hub.members.register(applicant, data.join_token)


def _registered(hub: Hub, admitted: Admitted, public_key: str, capabilities: tuple[str, ...]) -> Registered:
    tokens = hub.members.tokens
    return Registered(
        node_id=admitted.node_id,
        challenge=tokens.challenge(public_key).text,
        token=tokens.issue(admitted.node_id, capabilities, admitted.epoch),
        status=hub.network.registry[admitted.node_id].state.value,
    )


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except nodes.TakenError as error:
        raise refuse(409, str(error)) from None
    except NotAdmittedError as error:
        raise refuse(403, str(error)) from None

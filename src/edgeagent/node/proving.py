"""Getting a token by proving a key: after a crash, when a token has ended or was made void, and when a key changes.

The gateway gives a challenge and takes its signature; nobody has to type anything for that.
"""

from __future__ import annotations

from pathlib import Path

import structlog
import trio

from edgeagent.errors import EdgeAgentError, RefusedError, UsageError
from edgeagent.node import files, pending
from edgeagent.node.api import Api
from edgeagent.rest import Json
from edgeagent.wire import identity
from edgeagent.wire.urls import GatewayUrl

log = structlog.get_logger()


async def recover(home: Path) -> Json | None:
    """Settle what an earlier call has left: return the finished ``config.json``, or None where nothing came of it.

    Raises:
        UnreachableError: the gateway did not answer, so nobody knows.
        OSError: a file cannot be read or written.
    """
    left = pending.find(home)
    if left is None:
        return None
    try:
        async with Api(GatewayUrl.parse(left.config["gateway_url"])) as api:
            answer = await api.prove(left.private_pem)
    except (RefusedError, ValueError):
        pending.discard(home)  # the gateway never heard of this key
        return None
    pending.install(home, left, node_id=answer["node_id"], token=answer["token"], status=str(answer.get("status", "")))
    log.info("Registration completed", node_id=answer["node_id"])
    return files.read_config(home)


def settle(home: Path) -> None:
    """Do as ``recover``, before a start: what cannot be settled now is left for later."""
    try:
        trio.run(recover, home)
    except (EdgeAgentError, OSError) as error:
        log.warning("An earlier registration could not be settled", reason=str(error))


async def fresh_token(home: Path, gateway: GatewayUrl, node_id: str) -> str | None:
    """Return a fresh token for this node, by its key; None where the gateway gives none for it.

    Raises:
        UnreachableError: the gateway did not answer.
    """
    try:
        settled = await recover(home)
        if settled is not None and settled.get("node_id") == node_id:
            return str(settled["jwt_token"])
        private_pem = (home / files.PRIVATE_KEY).read_bytes()
        async with Api(gateway) as api:
            answer = await api.prove(private_pem)
    except (RefusedError, OSError, identity.InvalidKeyError, UsageError) as error:
        log.warning("No fresh token", reason=str(error))
        return None
    return str(answer["token"]) if answer["node_id"] == node_id else None


async def rotate(home: Path) -> str:
    """Give this machine's node a new key, for which its present one signs; return the node's id.

    Raises:
        EdgeAgentError: this machine is no node, or a file cannot be read or written.
        RefusedError: the gateway says no.
        UnreachableError: it did not answer; if it has changed the key all the same, the next call or start finds out.
    """
    try:
        await recover(home)
        config = files.read_config(home)
        if config is None:
            raise UsageError("this machine is not registered; run: edgeagent register --gateway-url URL --name NAME")
        old_pem = (home / files.PRIVATE_KEY).read_bytes()
        gateway, node_id = GatewayUrl.parse(str(config["gateway_url"])), str(config["node_id"])
        new = pending.begin(home, config)
        signature = identity.sign(old_pem, identity.replacement_proof(node_id, new.public_pem))
        body = {"node_id": node_id, "public_key": new.public_pem, "signature": signature}
        try:
            async with Api(gateway) as api:
                answer = await api.rotate_key(body)
        except RefusedError:
            pending.discard(home)
            raise
        pending.install(home, new, node_id=node_id, token=answer["token"], status=str(answer.get("status", "")))
    except OSError as error:
        raise EdgeAgentError(f"{error.filename or 'a file'} cannot be used: {error.strerror}") from None
    except (KeyError, identity.InvalidKeyError, ValueError) as error:
        raise EdgeAgentError(f"the identity in {home} is damaged ({error}); edgeagent register --force ...") from None
    return node_id

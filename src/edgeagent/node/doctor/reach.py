"""Whether the gateway can be reached, whether it knows this node, and what it thinks the time is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import trio

from edgeagent.errors import EdgeAgentError
from edgeagent.node.config import Identity
from edgeagent.node.doctor import verdicts
from edgeagent.node.doctor.verdicts import Verdict, failed, passed, warned
from edgeagent.rest import Rest

#: Seconds that the gateway has for each answer.
PATIENCE_S = 15.0
_STATES = {
    "PENDING": "ask the gateway's owner to approve the node",
    "REVOKED": "ask the gateway's owner",
    "UNHEALTHY": "edgeagent why",
    "OFFLINE": "start the node: edgeagent run",
    "REGISTERED": "start the node: edgeagent run",
}


async def gateway(node: Identity) -> list[Verdict]:
    """Ask the gateway for its health and for this node."""
    async with Rest(node.gateway, node.token) as rest:
        try:
            with trio.fail_after(PATIENCE_S):
                async with rest.stream("GET", "/health") as answer:
                    date = answer.headers.get("date")
        except (EdgeAgentError, trio.TooSlowError) as error:
            why = str(error) or f"no answer from the gateway at {node.gateway} within {PATIENCE_S:g} s"
            remedy = "check the address, this machine's connection, and that HTTPS may go out"
            return [failed("gateway", why, remedy)]
        return [*_reached(node, date), await _known(rest)]


def _reached(node: Identity, date: str | None) -> Iterator[Verdict]:
    if node.gateway.secure or node.gateway.authority.startswith(("127.", "localhost", "[::1]")):
        yield passed("gateway", f"{node.gateway} answers")
    else:
        text = f"{node.gateway} answers, and whoever is on the way can read the node's token"
        yield warned("gateway", text, "use the gateway's https:// address: edgeagent register --force ...")
    try:
        yield verdicts.clock(time.time() - parsedate_to_datetime(date or "").timestamp())
    except ValueError:
        yield passed("clock", "the gateway does not tell the time")


async def _known(rest: Rest) -> Verdict:
    try:
        with trio.fail_after(PATIENCE_S):
            status = str((await rest.call("GET", "/nodes/me")).get("status"))
    except (EdgeAgentError, trio.TooSlowError) as error:
        text = f"the gateway does not take the node's token: {error}"
        return warned("membership", text, "start the node, which proves its key; or: edgeagent register --force ...")
    if status == "HEALTHY":
        return passed("membership", "the gateway has the node as HEALTHY")
    return warned("membership", f"the gateway has the node as {status}", _STATES.get(status, "edgeagent why"))

"""How the node appears on its gateway's leaderboard: asked for and changed by a command, with the node's token."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from edgeagent.errors import UnreachableError
from edgeagent.node import config
from edgeagent.node.asking import PATIENCE_S
from edgeagent.rest import Json, Rest

_PATH = "/nodes/me/profile"


def appearance(home: Path, environ: Mapping[str, str], **changes: Any) -> Json:
    """Change what is given of the node's ``name`` and ``visibility``, and return how it appears then.

    Raises:
        UsageError: this machine is no node, or its options make no sense.
        RefusedError: the name is in use, or none that a node may have.
        UnreachableError: no gateway answered in time.
    """
    identity = config.load(home, environ)

    async def call() -> Json:
        async with Rest(identity.gateway, identity.token) as rest:
            with trio.fail_after(PATIENCE_S):
                shown = await rest.call("PATCH", _PATH, json=changes) if changes else await rest.call("GET", _PATH)
            return {**shown, "page": f"{identity.gateway}{shown.get('page', '')}"}

    try:
        return trio.run(call)
    except trio.TooSlowError:
        raise UnreachableError(f"the gateway at {identity.gateway} did not answer within {PATIENCE_S:g} s") from None

"""What the gateway tells a node about itself, asked for by commands beside the running node, with its token."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from edgeagent.errors import EdgeAgentError
from edgeagent.node import config
from edgeagent.rest import Json, Rest

#: Seconds for all questions of one command: a person waits for the answer.
PATIENCE_S = 10.0


def ask(home: Path, environ: Mapping[str, str], *paths: str, **params: Any) -> list[Json | EdgeAgentError]:
    """Return the gateway's answer to each path below ``/nodes/me``, or why there is none.

    Raises:
        UsageError: this machine is no node, or its options make no sense.
    """
    identity = config.load(home, environ)

    async def call() -> list[Json | EdgeAgentError]:
        async with Rest(identity.gateway, identity.token) as rest:
            return [await _one(rest, path, params) for path in paths]

    return trio.run(call)


async def _one(rest: Rest, path: str, params: Mapping[str, Any]) -> Json | EdgeAgentError:
    given = {name: value for name, value in params.items() if value is not None}
    try:
        with trio.fail_after(PATIENCE_S):
            return await rest.call("GET", f"/nodes/me{path}", params=given)
    except EdgeAgentError as error:
        return error
    except trio.TooSlowError:
        return EdgeAgentError(f"the gateway at {rest.gateway} did not answer within {PATIENCE_S:g} s")

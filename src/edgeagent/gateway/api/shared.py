"""What all requests to one gateway share.

Litestar's application is the same for every gateway, and is made once for the process; whose requests it serves each of
them says itself, in its scope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import attrs

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection

    from edgeagent.gateway.api.documents import Bodies
    from edgeagent.gateway.api.figures import JobCounts
    from edgeagent.gateway.api.throttles import Throttles
    from edgeagent.gateway.asgi import Scope
    from edgeagent.gateway.boards import Boards
    from edgeagent.gateway.hub import Hub

_KEY = "edgeagent"


@attrs.frozen(kw_only=True)
class Shared:
    """What the handlers and the guards of one gateway work on."""

    hub: Hub
    throttles: Throttles
    boards: Boards
    job_counts: JobCounts
    bodies: Bodies


def give(shared: Shared, scope: Scope) -> None:
    """Have a request served for this gateway."""
    scope["state"] = {_KEY: shared}


def of(connection: ASGIConnection[Any, Any, Any, Any]) -> Shared:
    """Return what a request's gateway works on."""
    return cast("Shared", connection.scope["state"][_KEY])

"""How often strangers may ask what costs the gateway something: 429 with when to come back.

Registrations and proofs of keys have buckets of their own, so that a flood of new nodes does not keep the old ones from
getting a token.  These guards run before anything of a body is read.
"""

from __future__ import annotations

import math
from typing import Any

import trio
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler

from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.limits import Limiter, Rate, source_of

_Connection = ASGIConnection[Any, Any, Any, State]


class Throttles:
    """The buckets of one gateway; a third of what a minute allows may come at once."""

    def __init__(self, settings: GatewaySettings) -> None:
        rates = settings.registrations_each, settings.registrations_together
        each, together = (Rate(per_minute, max(1.0, per_minute / 3)) for per_minute in rates)
        self.joining = Limiter(each, together)
        self.proving = Limiter(each, together)


async def joining(connection: _Connection, _: BaseRouteHandler) -> None:
    """Let a registration pass, if there were not too many."""
    _pass(connection.app.state.throttles.joining, connection)


async def proving(connection: _Connection, _: BaseRouteHandler) -> None:
    """Let a proof of a key pass, if there were not too many."""
    _pass(connection.app.state.throttles.proving, connection)


def _pass(limiter: Limiter, connection: _Connection) -> None:
    client = connection.client
    wait_s = limiter.wait_s(source_of(client.host if client else ""), trio.current_time())
    if wait_s > 0:
        after = str(math.ceil(wait_s))
        raise HTTPException(
            status_code=429, detail=f"too many requests; come back in {after} s", headers={"Retry-After": after}
        )

"""How often somebody may ask: 429 with when to come back, for strangers by address and for callers by their token.

Registrations and proofs of keys have buckets of their own besides, so that a flood of new nodes does not keep the old
ones from getting a token.  All of this runs before anything of a body is read.  A wrong token counts against the
address only after it was looked up: whoever shares an address with an attacker is still served with a good one.
"""

from __future__ import annotations

import math
from typing import Any

import trio
from litestar import Response
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from edgeagent.gateway.api import shared
from edgeagent.gateway.api.errors import AnyRequest, http_error
from edgeagent.gateway.ceilings import Ceilings
from edgeagent.gateway.limits import Limiter, Rate, source_of
from edgeagent.wire.identity import NodeClaims

_Connection = ASGIConnection[Any, Any, Any, State]

#: What a batch of a thousand jobs counts as, in requests.
BATCH = {"cost": 20}


class Throttles:
    """The buckets of one gateway."""

    def __init__(self, ceilings: Ceilings) -> None:
        each, together = (Rate.of(one) for one in (ceilings.registrations_each, ceilings.registrations_together))
        self.joining = Limiter(each, together)
        self.proving = Limiter(each, together)
        self.visiting = Limiter(Rate.of(ceilings.visits_each))
        self.calling = Limiter(Rate.of(ceilings.requests_each))


async def joining(connection: _Connection, _: BaseRouteHandler) -> None:
    """Let a registration pass, if there were not too many."""
    _pass(_of(connection).joining, _source(connection))


async def proving(connection: _Connection, _: BaseRouteHandler) -> None:
    """Let a proof of a key pass, if there were not too many."""
    _pass(_of(connection).proving, _source(connection))


async def visiting(connection: _Connection, handler: BaseRouteHandler) -> None:
    """Let a request pass to what needs no token, if its address did not send too many."""
    if not (isinstance(handler, HTTPRouteHandler) and handler.resolve_security()):
        stranger(connection)


def stranger(connection: _Connection) -> None:
    """Count a request of somebody who has shown no good token; raises what answers if there were too many."""
    _pass(_of(connection).visiting, _source(connection))


def caller(connection: _Connection, handler: BaseRouteHandler) -> None:
    """Count a request with a good token, which its guard has noted; raises what answers if there were too many."""
    _pass(_of(connection).calling, who(connection), handler.opt.get("cost", 1))


def who(connection: _Connection) -> str:
    """Return whose request it is: an account's, a node's, or that of a stranger at an address."""
    user = connection.scope.get("user")
    if isinstance(user, NodeClaims):
        return f"node {user.node_id}"
    return f"account {user}" if user else f"address {_source(connection)}"


def nowhere(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Answer a request that no route takes: it counts like any other."""
    try:
        stranger(request)
    except HTTPException as refused:
        error = refused
    return http_error(request, error)


def _of(connection: _Connection) -> Throttles:
    return shared.of(connection).throttles


def _source(connection: _Connection) -> str:
    return source_of(connection.client.host if connection.client else "")


def _pass(limiter: Limiter, source: str, cost: float = 1.0) -> None:
    wait_s = limiter.wait_s(source, trio.current_time(), cost)
    if wait_s > 0:
        after = str(math.ceil(wait_s))
        raise HTTPException(
            status_code=429, detail=f"too many requests; come back in {after} s", headers={"Retry-After": after}
        )

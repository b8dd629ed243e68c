"""Who may call what: guards look at the bearer token before anything of the body is read."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection, Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from edgeagent.gateway import auth
from edgeagent.gateway.api import shared, throttles
from edgeagent.gateway.api.errors import refuse
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.scopes import Scope, written
from edgeagent.gateway.store import accounts
from edgeagent.wire.identity import InvalidTokenError, NodeClaims

#: How a handler asks for the gateway's parts, for the account of the token, for the node of the token.
TheHub = NamedDependency[Hub]
Account = NamedDependency[str]
Node = NamedDependency[NodeClaims]

_Connection = ASGIConnection[Any, Any, Any, State]


async def readers_only(connection: _Connection, handler: BaseRouteHandler) -> None:
    """Let an account's token pass that may read."""
    await _account(connection, handler, Scope.READ)


async def submitters_only(connection: _Connection, handler: BaseRouteHandler) -> None:
    """Let an account's token pass that may submit."""
    await _account(connection, handler, Scope.SUBMIT)


async def administrators_only(connection: _Connection, handler: BaseRouteHandler) -> None:
    """Let a token pass that is for the whole gateway."""
    await _account(connection, handler, Scope.ADMIN)


async def _account(connection: _Connection, handler: BaseRouteHandler, scope: Scope) -> None:
    token = auth.bearer(connection.headers.get("authorization"))
    hub = shared.of(connection).hub
    found = await hub.store.look_up(accounts.caller, auth.token_sha256(token)) if token else None
    if found is None:
        throttles.stranger(connection)
        raise refuse(401, "a submitter's token is needed here; make one with: edgeagent gateway token create")
    connection.scope["user"] = found.account_id
    throttles.caller(connection, handler)
    if scope not in found.scopes:
        raise refuse(403, f"this token may not {scope.value}; its scopes are: {written(found.scopes)}")


async def nodes_only(connection: _Connection, handler: BaseRouteHandler) -> None:
    """Let a node's token pass."""
    token = auth.bearer(connection.headers.get("authorization"))
    hub = shared.of(connection).hub
    if token is None:
        throttles.stranger(connection)
        raise refuse(401, "a node's token is needed here")
    try:
        connection.scope["user"] = hub.members.authenticate(token)
    except InvalidTokenError as error:
        throttles.stranger(connection)
        raise refuse(401, str(error)) from None
    throttles.caller(connection, handler)


async def hub(request: Request[Any, Any, Any]) -> Hub:
    """Provide the gateway's parts."""
    return shared.of(request).hub


async def account_id(request: Request[str, Any, Any]) -> str:
    """Provide the account of the token that a guard let pass."""
    return request.user


async def node(request: Request[NodeClaims, Any, Any]) -> NodeClaims:
    """Provide the node that ``nodes_only`` let pass."""
    return request.user

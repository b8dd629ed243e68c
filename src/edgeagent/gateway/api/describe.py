"""The API's own description, OpenAPI 3.1: what Litestar reads off the handlers, and what their guards and limits add.

A handler names the faults that are its own (``errors.problems``); those that follow from what it is, such as 401 where
a token is needed, are added here for all.  It is made when somebody first asks for it, which few gateways see.
"""

from __future__ import annotations

from typing import Any

import trio
from litestar import Litestar, Router
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    PathItem,
    Reference,
    SecurityScheme,
    Tag,
)

from edgeagent import __version__
from edgeagent.gateway.api.errors import PROBLEM_JSON, refuse
from edgeagent.gateway.api.pages import PAGE_HEADERS
from edgeagent.gateway.api.reference import ReferencePage

#: The names under which the document speaks of tokens.
ACCOUNT = "account"
NODE = "node"

_METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")


def config() -> OpenAPIConfig:
    """Return how the document and its page are made: ``/schema/openapi.json``, and ``/schema`` for people."""
    return OpenAPIConfig(
        title="edgeagent gateway",
        version=__version__,
        summary="Submit jobs to a network of lent machines, and lend one.",
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                ACCOUNT: SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="A submitter's token: edgeagent gateway token create",
                ),
                NODE: SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT",
                    description="A node's token, from its registration or by proving its key",
                ),
            }
        ),
        tags=[
            Tag("jobs", "Submitting, watching and fetching, for the account of the token."),
            Tag("files", "Files that jobs may refer to, for the account of the token; uploads speak tus 1.0."),
            Tag("nodes", "For machines that are lent."),
            Tag("statements", "What all nodes were paid by month, with proofs; for everybody."),
            Tag("network", "What everybody may see, and how the gateway is."),
        ],
        render_plugins=[ReferencePage(), JsonRenderPlugin()],
        openapi_router=Router(
            "/schema",
            route_handlers=[],
            include_in_schema=False,
            response_headers=PAGE_HEADERS,
            guards=[_known_only, _made],
        ),
    )


async def _known_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let pass what there is: Litestar's own answer to the rest is a page, where all others are problem documents."""
    if connection.path_params:
        raise refuse(404, "there is /schema, and /schema/openapi.json for programs")


async def _made(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Have the document made, in a thread: it takes some tenths of a second, in which links are to be served."""
    async with connection.app.state["describing"]:
        await trio.to_thread.run_sync(_complete_once, connection.app)


def _complete_once(app: Litestar) -> None:
    """Add the answers that every operation of its kind has, before anybody reads the document."""
    document = app.openapi_schema
    assert document.components is not None
    if document.components.responses:
        return
    document.components.responses = {"Problem": _problem("A problem document says what is wrong")}
    for path, item in (document.paths or {}).items():
        for operation in _operations(item):
            _complete(path, operation)


def _operations(item: PathItem) -> list[Operation]:
    return [operation for method in _METHODS if (operation := getattr(item, method)) is not None]


def _complete(path: str, operation: Operation) -> None:
    responses = operation.responses = dict(operation.responses or {})
    if "400" in responses and not _is_problem(responses["400"]):
        del responses["400"]  # Litestar's own for a body of the wrong shape, which is 422 here
    there = (
        {"500", "503"}
        if path.startswith(("/api/v1/", "/health/ready", "/metrics")) and path != "/api/v1/health"
        else {"500"}
    )
    there.add("429")
    if operation.security:
        there |= {"401", "403"}
    if operation.request_body is not None:
        there |= {"413", "415", "422"}
    if operation.parameters:
        there.add("422")
    for status in sorted(there - responses.keys()):
        responses[status] = Reference(ref="#/components/responses/Problem")
    operation.responses = dict(sorted(responses.items()))


def _is_problem(response: OpenAPIResponse | Reference) -> bool:
    return isinstance(response, OpenAPIResponse) and PROBLEM_JSON in (response.content or {})


def _problem(description: str) -> OpenAPIResponse:
    schema = Reference(ref="#/components/schemas/Problem")
    return OpenAPIResponse(description=description, content={PROBLEM_JSON: OpenAPIMediaType(schema=schema)})

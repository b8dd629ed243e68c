"""Every fault as one line for a person, under ``detail``."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, SerializationException, ValidationException

from edgeagent.gateway.blobs import BlobsUnavailableError
from edgeagent.gateway.store import StoreUnavailableError
from edgeagent.gateway.texts import one_line

log = structlog.get_logger()


def refuse(status_code: int, detail: str, errors: list[dict[str, Any]] | None = None) -> HTTPException:
    """Return the exception that answers with this status and line, and one ``errors`` entry for each part at fault."""
    return HTTPException(status_code=status_code, detail=detail, extra=errors)


def http_error(_: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Answer what was refused on purpose, by us or by Litestar."""
    if isinstance(error.__cause__, SerializationException):
        return _answer(422, f"the body is not JSON: {error.detail}")
    return _answer(error.status_code, error.detail, error.headers, error.extra)


def invalid(_: Request[Any, Any, Any], error: ValidationException) -> Response[dict[str, Any]]:
    """Answer a body or parameter of the wrong shape."""
    wrong = error.extra if isinstance(error.extra, list) else []
    lines = [f"{one['key']}: {one['message']}" if one.get("key") else one["message"] for one in wrong]
    return _answer(422, "; ".join(lines[:3]) or error.detail)


def unavailable(
    _: Request[Any, Any, Any], error: StoreUnavailableError | BlobsUnavailableError
) -> Response[dict[str, Any]]:
    """Answer while the database or the files cannot be used."""
    return _answer(503, f"{error}; try again in a moment", {"Retry-After": "1"})


def bug(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Answer what should not have happened; the log has the rest."""
    log.error("Request failed", method=request.method, path=request.url.path, exc_info=error)
    return _answer(500, "the gateway failed at this; its log says why")


def _answer(
    status: int, detail: str, headers: dict[str, str] | None = None, errors: object = None
) -> Response[dict[str, Any]]:
    body: dict[str, Any] = {"detail": one_line(detail)}
    if isinstance(errors, list):
        body["errors"] = errors
    return Response(body, status_code=status, headers=headers, media_type=MediaType.JSON)

"""Every fault as a problem document (RFC 9457), whose ``detail`` is one line for a person.

A browser that asked for a page gets the same as a page, but below ``/api``, where nothing is for browsers.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException, ValidationException
from litestar.openapi import ResponseSpec

from edgeagent import __version__
from edgeagent.gateway.api.bodies import Problem, Wrong
from edgeagent.gateway.api.pages import PAGE_HEADERS, templates
from edgeagent.gateway.blocking import BlobsUnavailableError
from edgeagent.gateway.store import StoreUnavailableError
from edgeagent.gateway.texts import one_line
from edgeagent.gateway.tus import CHECKSUM_MISMATCH
from edgeagent.wire.urls import API_PREFIX

log = structlog.get_logger()

PROBLEM_JSON = "application/problem+json"
#: Most fields that a problem names.
MAX_WRONG = 50
#: Longest path that a problem names, in characters.
MAX_PATH = 500

AnyRequest = Request[Any, Any, Any]


def refuse(
    status_code: int, detail: str, errors: list[Wrong] | None = None, *, retry_s: int | None = None
) -> HTTPException:
    """Return the exception that answers with this status and line, and one entry for each part at fault.

    ``retry_s`` are the seconds after which it is worth trying again.
    """
    headers = None if retry_s is None else {"Retry-After": str(retry_s)}
    return HTTPException(
        status_code=status_code, detail=detail, headers=headers, extra=list(errors) if errors else None
    )


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Return what documents that a route answers with these problems."""
    return {
        status: ResponseSpec(Problem, generate_examples=False, description=_phrase(status), media_type=PROBLEM_JSON)
        for status in statuses
    }


def http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Answer what was refused on purpose, by us or by Litestar."""
    if isinstance(error.__cause__, SerializationException):
        return _answer(request, 422, f"the body is not JSON: {error.detail}")
    wrong = [one for one in error.extra if isinstance(one, Wrong)] if isinstance(error.extra, list) else []
    return _answer(request, error.status_code, error.detail, error.headers, wrong)


def invalid(request: AnyRequest, error: ValidationException) -> Response[Any]:
    """Answer a body or parameter of the wrong shape."""
    found = error.extra if isinstance(error.extra, list) else []
    if any(one.get("key") == "data" and one["message"] == "'data'" for one in found):  # Litestar's words for none
        return _answer(request, 422, "a body is needed here: a JSON document")
    wrong = [Wrong(one_line(str(one["message"])), field=_field(one)) for one in found[:MAX_WRONG]]
    lines = [f"{one.field}: {one.detail}" if one.field else one.detail for one in wrong]
    return _answer(request, 422, "; ".join(lines[:3]) or error.detail, None, wrong)


def unavailable(request: AnyRequest, error: StoreUnavailableError | BlobsUnavailableError) -> Response[Any]:
    """Answer while the database or the files cannot be used."""
    return _answer(request, 503, f"{error}; try again in a moment", {"Retry-After": "1"})


def bug(request: AnyRequest, error: Exception) -> Response[Any]:
    """Answer what should not have happened; the log has the rest."""
    log.error("Request failed", method=request.method, path=request.url.path, exc_info=error)
    return _answer(request, 500, "the gateway failed at this; its log says why")


def _phrase(status: int) -> str:
    return "Checksum Mismatch" if status == CHECKSUM_MISMATCH else HTTPStatus(status).phrase


def _field(found: dict[str, Any]) -> str | None:
    return one_line(str(found["key"]), 200) if found.get("key") else None


def _is_for_a_person(request: AnyRequest) -> bool:
    """Return whether a browser asks for a page: programs ask for anything, or for JSON."""
    return "text/html" in request.headers.get("accept", "") and not request.scope["path"].startswith(f"{API_PREFIX}/")


def _answer(
    request: AnyRequest,
    status: int,
    detail: str,
    headers: dict[str, str] | None = None,
    errors: list[Wrong] | None = None,
) -> Response[Any]:
    if _is_for_a_person(request):
        said = {"title": _phrase(status), "status": status, "detail": one_line(detail)}
        page = templates.get_template("fault.html").render(path=request.scope["path"], version=__version__, **said)
        told = {**PAGE_HEADERS, **(headers or {}), "Cache-Control": "no-store"}
        return Response(page, status_code=status, headers=told, media_type="text/html")
    problem = Problem(
        type="about:blank",
        title=_phrase(status),
        status=status,
        detail=one_line(detail) or _phrase(status),
        instance=request.scope["path"][:MAX_PATH],
        errors=errors or None,
    )
    return Response(problem, status_code=status, headers=headers, media_type=PROBLEM_JSON)

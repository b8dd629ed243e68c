"""What everybody may have: the files that pages need, the keys that check tokens, and whether the gateway is well."""

from __future__ import annotations

import os

import trio
from litestar import Response, get
from litestar.openapi import ResponseSpec
from litestar.params import FromPath

from edgeagent.gateway.api.bodies import Health, Readiness
from edgeagent.gateway.api.errors import refuse
from edgeagent.gateway.api.guards import TheHub
from edgeagent.gateway.api.pages import static
from edgeagent.gateway.store import StoreUnavailableError, Tx

_FILES = {
    name: (static(name), kind)
    for name, kind in (
        ("leaderboard.css", "text/css"),
        ("leaderboard.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
        ("reference.css", "text/css"),
        ("statement.css", "text/css"),
    )
}
_TAGS = ["network"]
#: Seconds that the database may take, which is more patient with a lock than whoever asks is with us.
READY_WITHIN_S = 2.0


@get("/static/{name:str}", sync_to_thread=False, include_in_schema=False)
def file(name: FromPath[str]) -> Response[bytes]:
    """Send a file that a page needs."""
    if name not in _FILES:
        raise refuse(404, "there is no such file")
    content, kind = _FILES[name]
    headers = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=kind, headers=headers)


@get("/.well-known/jwks.json", sync_to_thread=False, media_type="application/jwk-set+json", tags=_TAGS)
def jwks(hub: TheHub) -> dict[str, list[dict[str, str]]]:
    """Send the public keys that check nodes' tokens (RFC 7517)."""
    return hub.members.tokens.jwks()


@get(["/health", "/api/v1/health"], sync_to_thread=False, tags=_TAGS)
def health() -> Health:
    """Say that the gateway answers."""
    return Health()


@get(
    ["/health/ready", "/api/v1/health/ready"],
    tags=_TAGS,
    responses={503: ResponseSpec(Readiness, generate_examples=False, description="It cannot: see the checks")},
)
async def ready(hub: TheHub) -> Response[Readiness]:
    """Say whether the gateway can do its work."""
    checks = {"database": "ok", "blobs": "ok"}
    try:
        with trio.fail_after(READY_WITHIN_S):
            await hub.store.write(_nothing)
    except StoreUnavailableError as error:
        checks["database"] = str(error)
    except trio.TooSlowError:
        checks["database"] = f"took no change within {READY_WITHIN_S:g} s"
    if not os.access(hub.settings.blobs, os.W_OK):
        checks["blobs"] = "not writable"
    well = all(check == "ok" for check in checks.values())
    return Response(Readiness("ready" if well else "degraded", checks), status_code=200 if well else 503)


def _nothing(_: Tx) -> None:
    """The smallest request: the writer begins and commits."""

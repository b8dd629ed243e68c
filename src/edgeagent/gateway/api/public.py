"""What everybody may see: the leaderboard, as a page and as JSON, and whether the gateway is well."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import attrs
import trio
from litestar import Response, get
from litestar.datastructures import State
from litestar.openapi import ResponseSpec
from litestar.params import FromPath

from edgeagent import __version__
from edgeagent.gateway import leaderboard
from edgeagent.gateway.api.bodies import Board, Health, Readiness, Row, Stats
from edgeagent.gateway.api.errors import refuse
from edgeagent.gateway.api.guards import TheHub
from edgeagent.gateway.api.pages import PAGE_HEADERS, stylesheet, templates
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.leaderboard import Ranked
from edgeagent.gateway.store import StoreUnavailableError, Tx, nodes
from edgeagent.wire.units import UCR_PER_CREDIT

#: Seconds that one look at all nodes is good for; the page asks for itself every 60 s.
FRESH_S = 2.0
#: Nodes shown on the page and listed in the JSON.
MAX_ROWS = 100

_STYLES = {name: stylesheet(name) for name in ("leaderboard.css", "reference.css")}
_TAGS = ["network"]


@attrs.frozen
class _Seen:
    """All nodes, as they stood at one moment."""

    until: float  # on trio's clock
    at: datetime
    ranked: list[Ranked]
    network_uptime: float
    earned_ucr: int


@get("/api/v1/community/leaderboard", tags=_TAGS)
async def board(hub: TheHub, state: State) -> Board:
    """Show the leaderboard as RenderTrust's portal reads it; earnings in credits."""
    seen = await _look(hub, state)
    return Board(
        leaderboard=[
            Row(one.rank, one.node_id, one.name, one.jobs_completed, one.uptime_percent, _credits(one.earned_ucr))
            for one in seen.ranked[:MAX_ROWS]
        ],
        stats=Stats(
            total_nodes=len(seen.ranked),
            total_jobs=sum(one.jobs_completed for one in seen.ranked),
            network_uptime=seen.network_uptime,
            total_payouts=_credits(seen.earned_ucr),
        ),
        updated_at=seen.at,
    )


@get("/", include_in_schema=False)
async def page(hub: TheHub, state: State) -> Response[str]:
    """Show the leaderboard to a person."""
    seen = await _look(hub, state)
    html = templates.get_template("leaderboard.html").render(
        rows=seen.ranked[:MAX_ROWS],
        nodes=len(seen.ranked),
        jobs=sum(one.jobs_completed for one in seen.ranked),
        uptime=seen.network_uptime,
        earned_ucr=seen.earned_ucr,
        updated=seen.at,
        version=__version__,
    )
    return Response(html, media_type="text/html", headers=PAGE_HEADERS)


@get("/static/{name:str}", sync_to_thread=False, include_in_schema=False)
def style(name: FromPath[str]) -> Response[bytes]:
    """Send a page's stylesheet."""
    if name not in _STYLES:
        raise refuse(404, "there is no such stylesheet")
    headers = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(_STYLES[name], media_type="text/css", headers=headers)


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
        await hub.store.write(_nothing)
    except StoreUnavailableError as error:
        checks["database"] = str(error)
    if not os.access(hub.settings.blobs, os.W_OK):
        checks["blobs"] = "not writable"
    well = all(check == "ok" for check in checks.values())
    return Response(Readiness("ready" if well else "degraded", checks), status_code=200 if well else 503)


async def _look(hub: Hub, state: State) -> _Seen:
    seen: _Seen | None = state.get("leaderboard")
    if seen is None or seen.until <= trio.current_time():
        standings = await hub.store.read(nodes.standings)
        seen = state["leaderboard"] = _Seen(
            until=trio.current_time() + FRESH_S,
            at=datetime.fromtimestamp(hub.store.clock(), UTC),
            ranked=leaderboard.rank(standings),
            network_uptime=leaderboard.network_uptime(standings),
            earned_ucr=sum(one.earned_ucr for one in standings),
        )
    return seen


def _nothing(_: Tx) -> None:
    """The smallest request: the writer begins and commits."""


def _credits(ucr: int) -> float:
    return ucr / UCR_PER_CREDIT

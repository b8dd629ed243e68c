"""The leaderboard: as a page for people, with one for each node, and as JSON."""

from __future__ import annotations

import math
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from edgeagent import __version__
from edgeagent.gateway import curves, names
from edgeagent.gateway.api import shared
from edgeagent.gateway.api.bodies import Board as BoardBody
from edgeagent.gateway.api.bodies import Row, Stats
from edgeagent.gateway.api.choices import MAX_SEARCH, Choice
from edgeagent.gateway.api.guards import TheHub
from edgeagent.gateway.api.pages import BOARD_HEADERS, templates
from edgeagent.gateway.boards import Boards
from edgeagent.gateway.leaderboard import PAGE_ROWS, RECENT_DAYS, Column, Query
from edgeagent.gateway.store import standings
from edgeagent.wire.units import UCR_PER_CREDIT

#: Most nodes in one answer of the JSON.
MAX_ROWS = 1000
#: The columns of the table that can be sorted by, with what stands above them.
_HEADS = (
    (Column.NAME, "Node", False),
    (Column.JOBS, "Jobs", True),
    (Column.UPTIME, "Uptime", True),
    (Column.RECENT, f"Uptime, {RECENT_DAYS} days", True),
    (Column.EARNINGS, "Credits", True),
)

TheBoards = NamedDependency[Boards]


async def boards(request: Request[Any, Any, Any]) -> Boards:
    """Provide the leaderboard."""
    return shared.of(request).boards


@get("/api/v1/community/leaderboard", tags=["network"])
async def board(
    boards: TheBoards,
    sort: Annotated[Column, QueryParameter(description="What to sort by, best first")] = Column.JOBS,
    q: Annotated[str, QueryParameter(max_length=MAX_SEARCH, description="Part of a name or of an id")] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_ROWS)] = PAGE_ROWS,
    offset: Annotated[int, QueryParameter(ge=0, le=10_000_000)] = 0,
) -> Response[BoardBody]:
    """Show the leaderboard as RenderTrust's portal reads it; earnings in credits, ``rank`` by jobs completed."""
    seen = await boards.current()
    found = seen.find(Query(column=sort, ascending=sort.ascends, search=q))
    body = BoardBody(
        leaderboard=[
            Row(one.rank, one.node_id, one.name, one.jobs_completed, one.uptime_percent, _credits(one.earned_ucr))
            for one in found[offset : offset + limit]
        ],
        stats=Stats(
            total_nodes=seen.totals.nodes,
            total_jobs=seen.totals.jobs,
            network_uptime=seen.totals.uptime_percent,
            total_payouts=_credits(seen.totals.earned_ucr),
        ),
        updated_at=seen.at,
    )
    return Response(body, headers={"Cache-Control": f"public, max-age={math.ceil(boards.fresh_s)}"})


@get("/", include_in_schema=False)
async def page(request: Request[None, None, State], boards: TheBoards) -> Response[str]:
    """Show the leaderboard to a person."""
    seen = await boards.current()
    choice = Choice.parse(dict(request.query_params))
    found = seen.find(choice.query)
    choice, pages = choice.cut(len(found))
    first = (choice.page - 1) * PAGE_ROWS
    return _html(
        "leaderboard.html",
        board=seen,
        choice=choice,
        heads=_HEADS,
        rows=found[first : first + PAGE_ROWS],
        found=len(found),
        pages=pages,
    )


@get("/nodes/{node_id:str}", include_in_schema=False)
async def node_page(node_id: FromPath[str], hub: TheHub, boards: TheBoards) -> Response[str]:
    """Show one node to a person."""
    seen = await boards.current()
    place = seen.node(node_id)
    past = None if place is None else await hub.store.read(standings.past, node_id, RECENT_DAYS)
    if place is None or past is None:
        return _html("no_node.html", status_code=404)
    spells = [(one.state, one.since, one.until) for one in past.spells]
    days = curves.days(spells, past.days, hub.store.clock(), RECENT_DAYS)
    drawn = [
        curves.draw("Jobs completed", [float(one.jobs) for one in days]),
        curves.draw("Uptime", [one.uptime_percent for one in days], " %", top=100.0),
        curves.draw("Credits earned", [_credits(one.earned_ucr) for one in days]),
    ]
    return _html(
        "node.html",
        board=seen,
        node=place,
        state=past.state.value,
        since=past.spells[-1].since,
        capabilities=[names.shown(one, names.MAX_NAME) for one in past.capabilities],
        days=days,
        curves=drawn,
        size=(curves.WIDTH, curves.HEIGHT),
    )


def _html(template: str, status_code: int = 200, **values: object) -> Response[str]:
    html = templates.get_template(template).render(version=__version__, **values)
    return Response(html, status_code=status_code, media_type="text/html", headers=BOARD_HEADERS)


def _credits(ucr: int) -> float:
    return ucr / UCR_PER_CREDIT

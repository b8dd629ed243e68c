"""REST for a node that decides how it appears on the leaderboard."""

from __future__ import annotations

from litestar import HttpMethod, Response, get, patch, route
from litestar.params import JSONBody

from edgeagent.gateway.api.board import TheBoards
from edgeagent.gateway.api.describe import NODE
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.guards import Node, TheHub, nodes_only
from edgeagent.gateway.api.node_bodies import Appearance, NodeAppearance, Visibility
from edgeagent.gateway.api.nodes import node_name
from edgeagent.gateway.boards import Boards
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.store import Tx, audit, nodes


@get("/nodes/me/profile", guards=[nodes_only], security=[{NODE: []}], tags=["nodes"])
async def profile(node: Node, hub: TheHub, boards: TheBoards) -> NodeAppearance:
    """Show a node how it appears on the leaderboard."""
    return await _appearance(node.node_id, hub, boards)


@patch("/nodes/me/profile", guards=[nodes_only], security=[{NODE: []}], responses=problems(409, 422), tags=["nodes"])
async def change_profile(data: JSONBody[Appearance], node: Node, hub: TheHub, boards: TheBoards) -> NodeAppearance:
    """Give a node another name, list it on the leaderboard, or take it off; what is left out stays."""
    name = None if data.name is None else node_name(data.name)
    listed = None if data.visibility is None else data.visibility is Visibility.LISTED
    try:
        if await hub.store.write(_appear, node.node_id, name, listed):
            boards.forget()
    except nodes.TakenError as error:
        raise refuse(409, str(error)) from None
    return await _appearance(node.node_id, hub, boards)


@route(
    "/nodes/me/profile", http_method=HttpMethod.OPTIONS, include_in_schema=False, status_code=204, sync_to_thread=False
)
def options() -> Response[None]:
    """Say what may be done with a profile; Litestar's own answer knows only the first handler of a path."""
    return Response(None, status_code=204, headers={"Allow": "GET, OPTIONS, PATCH"})


async def _appearance(node_id: str, hub: Hub, boards: Boards) -> NodeAppearance:
    name, listed = await hub.store.read(nodes.appearance, node_id)
    place = (await boards.current()).node(node_id)
    rank = place.rank if place is not None and listed else None
    visibility = Visibility.LISTED if listed else Visibility.UNLISTED
    return NodeAppearance(node_id=node_id, name=name, visibility=visibility, rank=rank, page=f"/nodes/{node_id}")


def _appear(tx: Tx, node_id: str, name: str | None, listed: bool | None) -> bool:
    changed = nodes.appear(tx, node_id, name, listed)
    if changed:
        name, listed = nodes.appearance(tx, node_id)
        audit.record(tx, f"node {node_id}", "node.profile", node_id, f"{name}, {'listed' if listed else 'not listed'}")
    return changed

"""REST for nodes at work: what an attempt needs of the files here.  What it leaves comes by ``api.uploads``."""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from litestar.params import FromPath
from litestar.response import Stream

from edgeagent.gateway import references
from edgeagent.gateway.api.describe import NODE
from edgeagent.gateway.api.downloads import OCTETS, SendsFile, answer
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.guards import Node, TheHub, nodes_only
from edgeagent.gateway.blobs import Blob
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.store import files, views

AnyRequest = Request[Any, Any, Any]


@get(
    "/attempts/{attempt_id:str}/inputs/{name:str}",
    guards=[nodes_only],
    media_type=OCTETS,
    operation_class=SendsFile,
    security=[{NODE: []}],
    responses=problems(404, 416),
    tags=["nodes"],
)
async def get_input(
    attempt_id: FromPath[str], name: FromPath[str], node: Node, hub: TheHub, request: AnyRequest
) -> Stream:
    """Send an input of an attempt that the node holds, or a range of it."""
    return await _send(request, hub, attempt_id, node.node_id, name)


@get(
    "/attempts/{attempt_id:str}/payload",
    guards=[nodes_only],
    media_type=OCTETS,
    operation_class=SendsFile,
    security=[{NODE: []}],
    responses=problems(404, 416),
    tags=["nodes"],
)
async def get_payload(attempt_id: FromPath[str], node: Node, hub: TheHub, request: AnyRequest) -> Stream:
    """Send the payload of an attempt that the node holds, where it lies on this gateway, or a range of it."""
    return await _send(request, hub, attempt_id, node.node_id, None)


async def _send(request: AnyRequest, hub: Hub, attempt_id: str, node_id: str, name: str | None) -> Stream:
    ref = await hub.store.read(views.reference, attempt_id, node_id, name)
    digest = None if ref is None else references.digest_of(ref)
    size = None if digest is None else await hub.store.read(files.size_of, digest)
    if digest is None or size is None:
        raise refuse(404, "this node holds no such attempt, or it has no such file on this gateway")
    return answer(request, hub.blobs, Blob(digest, size), name or "payload")

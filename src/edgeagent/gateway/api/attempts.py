"""REST for nodes at work: hand over the files that an attempt left, before its result."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, Any

from litestar import Request, put
from litestar.params import FromPath, QueryParameter

from edgeagent.gateway.api.bodies import StoredOutput
from edgeagent.gateway.api.describe import NODE, TakesFile
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.guards import Node, TheHub, nodes_only
from edgeagent.gateway.blobs import DigestError, TooLargeError
from edgeagent.gateway.store import views

#: Largest file, in bytes; the sandbox's default scratch is as large.
MAX_OUTPUT_BYTES = 256 << 20


@put(
    "/attempts/{attempt_id:str}/outputs/{name:str}",
    status_code=201,
    guards=[nodes_only],
    request_max_body_size=None,
    operation_class=TakesFile,
    security=[{NODE: []}],
    responses=problems(404, 411, 413, 422),
    tags=["nodes"],
)
async def put_output(
    attempt_id: FromPath[str],
    name: FromPath[str],
    sha256: Annotated[str, QueryParameter(pattern="^[0-9a-fA-F]{64}$")],
    request: Request[Any, Any, Any],
    node: Node,
    hub: TheHub,
) -> StoredOutput:
    """Take a file; repeating it is harmless."""
    sha256 = sha256.lower()
    if not 1 <= len(name) <= 255 or "\0" in name:
        raise refuse(422, "an output's name has 1 to 255 characters")
    _check_length(request.headers.get("content-length"))
    if not await hub.store.read(views.writes_outputs, attempt_id, node.node_id):
        raise refuse(404, "this node holds no such attempt, or its job has ended")
    try:
        async with aclosing(request.stream()) as pieces:
            blob = await hub.blobs.put(pieces, sha256, MAX_OUTPUT_BYTES)
    except DigestError as error:
        raise refuse(422, f"{error}, not the sha256 announced") from None
    except TooLargeError:
        raise _too_large() from None
    await hub.store.write(views.add_output, attempt_id, name, blob.size_bytes, blob.sha256)
    return StoredOutput(name, blob.size_bytes, blob.sha256)


def _check_length(header: str | None) -> None:
    if header is None or not header.isdecimal():
        raise refuse(411, "Content-Length is needed here")
    if int(header) > MAX_OUTPUT_BYTES:
        raise _too_large()


def _too_large() -> Exception:
    return refuse(413, f"an output has at most {MAX_OUTPUT_BYTES >> 20} MiB")

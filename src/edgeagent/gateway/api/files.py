"""REST for submitters: the files that their jobs may refer to."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from litestar import Controller, HttpMethod, MediaType, Request, Response, delete, get, head, route
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from edgeagent.gateway.api.describe import ACCOUNT
from edgeagent.gateway.api.downloads import OCTETS, SendsFile, about, answer
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.file_bodies import FileBody, FilePage
from edgeagent.gateway.api.guards import Account, TheHub, readers_only, submitters_only
from edgeagent.gateway.blobs import Blob
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.store import files
from edgeagent.gateway.store.files import File

AnyRequest = Request[Any, Any, Any]


class FilesController(Controller):
    """Files of the token's account, by their SHA-256."""

    path = "/files"
    security = [{ACCOUNT: []}]  # noqa: RUF012 -- Litestar's way
    tags = ["files"]  # noqa: RUF012 -- Litestar's way

    @get("/", guards=[readers_only])
    async def list_files(
        self,
        account_id: Account,
        hub: TheHub,
        before: Annotated[int | None, QueryParameter(ge=1, le=1 << 62)] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
    ) -> FilePage:
        """List the files that were uploaded, newest first; ``before`` as ``next`` of an earlier answer says."""
        found = await hub.store.read(partial(files.of_account, before=before, limit=limit + 1), account_id)
        page = found[:limit]
        return FilePage([_body(one) for one in page], page[-1].seq if len(found) > limit else None)

    @get(
        "/{sha256:str}",
        guards=[readers_only],
        media_type=OCTETS,
        operation_class=SendsFile,
        responses=problems(404, 416),
    )
    async def download(self, sha256: FromPath[str], account_id: Account, hub: TheHub, request: AnyRequest) -> Stream:
        """Send a file, or a range of it."""
        found = await _find(hub, account_id, sha256)
        return answer(request, hub.blobs, Blob(found.sha256, found.size_bytes), found.name)

    @head(
        "/{sha256:str}",
        guards=[readers_only],
        media_type=OCTETS,
        operation_class=SendsFile,
        responses=problems(404),
    )
    async def look(self, sha256: FromPath[str], account_id: Account, hub: TheHub) -> Response[None]:
        """Say whether the account has a file, and how large it is."""
        found = await _find(hub, account_id, sha256)
        headers = about(Blob(found.sha256, found.size_bytes), found.name)
        return Response(None, media_type=MediaType.TEXT, headers={**headers, "Content-Type": OCTETS})

    @delete("/{sha256:str}", guards=[submitters_only], responses=problems(404))
    async def release(self, sha256: FromPath[str], account_id: Account, hub: TheHub) -> None:
        """Let go of a file; it is kept, and counts, while an open job refers to it."""
        try:
            await hub.store.write(files.release, account_id, sha256)
        except LookupError:
            raise _no_file(sha256) from None
        await hub.collector.remove([sha256])


@route(
    ["/files/{sha256:str}"],
    http_method=HttpMethod.OPTIONS,
    include_in_schema=False,
    status_code=204,
    sync_to_thread=False,
)
def options() -> Response[None]:
    """Say what may be done with a file."""
    return Response(None, status_code=204, headers={"Allow": "DELETE, GET, HEAD, OPTIONS"})


async def _find(hub: Hub, account_id: str, sha256: str) -> File:
    found = await hub.store.read(files.find, account_id, sha256)
    if found is None:
        raise _no_file(sha256)
    return found


def _no_file(sha256: str) -> Exception:
    return refuse(404, f"you have no file sha256:{sha256[:64]} on this gateway")


def _body(found: File) -> FileBody:
    return FileBody(
        sha256=found.sha256,
        ref=f"sha256:{found.sha256}",
        name=found.name,
        size_bytes=found.size_bytes,
        created_at=datetime.fromtimestamp(found.created_at, UTC),
    )

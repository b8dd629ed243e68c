"""REST for files that come: of accounts, which their jobs may refer to then, and of attempts, as their outputs."""

from __future__ import annotations

from datetime import UTC, datetime

from litestar import Controller, HttpMethod, Response, delete, get, head, patch, post, route
from litestar.params import FromPath

from edgeagent.gateway.api import uploading
from edgeagent.gateway.api.describe import ACCOUNT, NODE
from edgeagent.gateway.api.errors import problems
from edgeagent.gateway.api.file_bodies import UploadBody, UploadList
from edgeagent.gateway.api.guards import Account, Node, TheHub, nodes_only, readers_only, submitters_only
from edgeagent.gateway.api.tus_documents import Appends, Creates, Ends, Looks
from edgeagent.gateway.api.uploading import AnyRequest
from edgeagent.gateway.store import uploads
from edgeagent.gateway.store.uploads import Owner
from edgeagent.wire.urls import API_PREFIX

_CREATES = problems(400, 404, 409, 412, 413, 415, 422, 429, 460)
_APPENDS = problems(400, 404, 409, 410, 412, 413, 415, 422, 460)
_LOOKS = problems(404, 410, 412)


class UploadsController(Controller):
    """Uploads of the token's account."""

    path = "/uploads"
    security = [{ACCOUNT: []}]  # noqa: RUF012 -- Litestar's way
    tags = ["files"]  # noqa: RUF012 -- Litestar's way

    @get("/", guards=[readers_only])
    async def list_uploads(self, account_id: Account, hub: TheHub) -> UploadList:
        """List the uploads in progress, so that one can be gone on with."""
        found = await hub.store.read(uploads.of_account, account_id)
        return UploadList(
            [
                UploadBody(
                    upload_id=one.upload_id,
                    location=f"{API_PREFIX}/uploads/{one.upload_id}",
                    sha256=one.sha256,
                    name=one.name,
                    size_bytes=one.length,
                    offset_bytes=one.offset,
                    expires_at=datetime.fromtimestamp(one.expires_at, UTC),
                    active=hub.uploads.active(one.upload_id),
                )
                for one in found
            ]
        )

    @post(
        "/",
        guards=[submitters_only],
        status_code=201,
        request_max_body_size=None,
        operation_class=Creates,
        responses=_CREATES,
    )
    async def create(self, account_id: Account, hub: TheHub, request: AnyRequest) -> Response[None]:
        """Begin an upload (tus 1.0); complete at once, by Upload-Offset, where the account has the file already."""
        return await uploading.create(request, hub, Owner(account_id), f"{API_PREFIX}/uploads")

    @head("/{upload_id:str}", guards=[submitters_only], operation_class=Looks, responses=_LOOKS)
    async def look(
        self, upload_id: FromPath[str], account_id: Account, hub: TheHub, request: AnyRequest
    ) -> Response[None]:
        """Say how far an upload is; a request that is still sending it ends."""
        return await uploading.look(request, hub, Owner(account_id), upload_id)

    @patch(
        "/{upload_id:str}",
        guards=[submitters_only],
        status_code=204,
        request_max_body_size=None,
        operation_class=Appends,
        responses=_APPENDS,
    )
    async def append(
        self, upload_id: FromPath[str], account_id: Account, hub: TheHub, request: AnyRequest
    ) -> Response[None]:
        """Send the next piece of an upload; with the last one, the file is there."""
        return await uploading.append(request, hub, Owner(account_id), upload_id)

    @delete("/{upload_id:str}", guards=[submitters_only], operation_class=Ends, responses=_LOOKS)
    async def end(self, upload_id: FromPath[str], account_id: Account, hub: TheHub, request: AnyRequest) -> None:
        """Give an upload up."""
        await uploading.end(request, hub, Owner(account_id), upload_id)


class AttemptUploadsController(Controller):
    """Uploads of what an attempt leaves, by the node that holds it."""

    path = "/attempts/{attempt_id:str}/uploads"
    guards = [nodes_only]  # noqa: RUF012 -- Litestar's way
    security = [{NODE: []}]  # noqa: RUF012 -- Litestar's way
    tags = ["nodes"]  # noqa: RUF012 -- Litestar's way

    @post("/", status_code=201, request_max_body_size=None, operation_class=Creates, responses=_CREATES)
    async def create(self, attempt_id: FromPath[str], node: Node, hub: TheHub, request: AnyRequest) -> Response[None]:
        """Begin the upload of an output (tus 1.0); complete at once where the same name and digest came before."""
        owner = Owner(attempt_id=attempt_id, node_id=node.node_id)
        return await uploading.create(request, hub, owner, f"{API_PREFIX}/attempts/{attempt_id}/uploads")

    @head("/{upload_id:str}", operation_class=Looks, responses=_LOOKS)
    async def look(
        self, attempt_id: FromPath[str], upload_id: FromPath[str], node: Node, hub: TheHub, request: AnyRequest
    ) -> Response[None]:
        """Say how far an upload is; a request that is still sending it ends."""
        return await uploading.look(request, hub, Owner(attempt_id=attempt_id, node_id=node.node_id), upload_id)

    @patch(
        "/{upload_id:str}",
        status_code=204,
        request_max_body_size=None,
        operation_class=Appends,
        responses=_APPENDS,
    )
    async def append(
        self, attempt_id: FromPath[str], upload_id: FromPath[str], node: Node, hub: TheHub, request: AnyRequest
    ) -> Response[None]:
        """Send the next piece of an output; with the last one, the attempt has it."""
        return await uploading.append(request, hub, Owner(attempt_id=attempt_id, node_id=node.node_id), upload_id)

    @delete("/{upload_id:str}", operation_class=Ends, responses=_LOOKS)
    async def end(
        self, attempt_id: FromPath[str], upload_id: FromPath[str], node: Node, hub: TheHub, request: AnyRequest
    ) -> None:
        """Give an upload up."""
        await uploading.end(request, hub, Owner(attempt_id=attempt_id, node_id=node.node_id), upload_id)


@route("/uploads", http_method=HttpMethod.OPTIONS, include_in_schema=False, status_code=204, sync_to_thread=False)
def options() -> Response[None]:
    """Say what of tus there is, without a token."""
    return uploading.options("GET, OPTIONS, POST")


@route(
    "/attempts/{attempt_id:str}/uploads",
    http_method=HttpMethod.OPTIONS,
    include_in_schema=False,
    status_code=204,
    sync_to_thread=False,
)
def options_of_attempt() -> Response[None]:
    """Say what of tus there is, without a token."""
    return uploading.options("OPTIONS, POST")


@route(
    ["/uploads/{upload_id:str}", "/attempts/{attempt_id:str}/uploads/{upload_id:str}"],
    http_method=HttpMethod.OPTIONS,
    include_in_schema=False,
    status_code=204,
    sync_to_thread=False,
)
def options_of_one() -> Response[None]:
    """Say what of tus there is, without a token."""
    return uploading.options("DELETE, HEAD, OPTIONS, PATCH")

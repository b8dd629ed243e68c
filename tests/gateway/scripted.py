"""The other side of the gateway, spelled out: its nodes (``scripted_node``), and a submitter over real HTTP."""

from __future__ import annotations

import hashlib
import ssl
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx2
import pytest
import sqlalchemy as sa
import trio
import trio.testing
import trio_websocket
from scripted_node import CAPABILITIES, Node, Operator

import plain_http
from edgeagent.gateway import api, auth, keyring, service
from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.asgi import Server, application
from edgeagent.gateway.blobs import LocalBlobs
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.network import Network
from edgeagent.gateway.store import Store, accounts, nodes, views
from edgeagent.gateway.store.submissions import New
from edgeagent.gateway.store.uploads import Owner, Upload
from edgeagent.gateway.store.views import JobView
from edgeagent.wire import identity
from edgeagent.wire.link import SUBPROTOCOL
from edgeagent.wire.messages import (
    NodeState,
)

FILE = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(FILE).hexdigest()
#: Real seconds after which a test that waits for something has failed.
PATIENCE_S = 20.0


#: Runs a test's ``port_gateway`` on each kind of database.
on_both_databases = pytest.mark.parametrize(
    "port_gateway", ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))], indirect=True
)


class Gateway:
    """A running gateway of this process."""

    async def open(self, nursery: trio.Nursery, path: str, options: Any) -> trio_websocket.WebSocketConnection:
        """Open a WebSocket."""
        raise NotImplementedError

    @asynccontextmanager
    async def connect(
        self, node_id: str, token: str, *, subprotocols: tuple[str, ...] = (SUBPROTOCOL,), query: str = ""
    ) -> AsyncIterator[Node]:
        """Open a link and give its scripted end."""
        headers = [(b"Authorization", f"Bearer {token}".encode())] if token else []
        options = {"subprotocols": subprotocols, "extra_headers": headers}
        async with trio.open_nursery() as nursery:
            websocket = await self.open(nursery, f"/api/v1/relay/ws/{node_id}{query}", options)
            try:
                yield Node(websocket)
            finally:
                with trio.CancelScope(deadline=trio.current_time() + 1, shield=True):
                    await websocket.aclose()
                    # trio-websocket leaves the stream open where the peer closed first.
                    await trio.aclose_forcefully(websocket._stream)
                nursery.cancel_scope.cancel()

    def as_node(self, operator: Operator) -> AbstractAsyncContextManager[Node]:
        """Open a link as this node."""
        return self.connect(operator.node_id, operator.token)

    @asynccontextmanager
    async def at_work(self, operator: Operator, *, slots: int = 1) -> AsyncIterator[Node]:
        """Open a link as this node, which is HEALTHY and has nothing to do."""
        async with self.as_node(operator) as node:
            await node.ready(slots=slots)
            yield node


@attrs.define
class Wall:
    """A wall clock that goes with trio's, and can be set."""

    ahead_s: float = 1e9

    def __call__(self) -> float:
        """Return the time."""
        return self.ahead_s + trio.current_time()


@attrs.define
class MemoryGateway(Gateway):
    """A gateway without port, threads or real time; its parts are at hand."""

    hub: Hub
    server: Server
    wall: Wall

    async def open(self, nursery: trio.Nursery, path: str, options: Any) -> trio_websocket.WebSocketConnection:
        """Open a WebSocket over a pair of streams."""
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(self.server.serve, theirs, NoSocket())
        return await trio_websocket.wrap_client_stream(nursery, ours, "gateway", path, **options)

    async def enlist(self, name: str = "node", capabilities: tuple[str, ...] = CAPABILITIES) -> Operator:
        """Register a node."""
        key = identity.new_private_key()
        applicant = nodes.Applicant(name, identity.public_key_of(key), capabilities, {})
        node_id = (await self.hub.members.register(applicant)).node_id
        return Operator(node_id, self.hub.tokens.issue(node_id, capabilities), key)

    async def account(self, name: str = "studio", grant_ucr: int = 1_000_000_000) -> str:
        """Make an account; return its id."""
        token = auth.new_account_token()
        await self.hub.store.write(accounts.add_token, name, auth.token_sha256(token), grant_ucr)
        account_id = await self.hub.store.read(accounts.of_token, auth.token_sha256(token))
        assert account_id is not None
        return account_id

    async def submit(self, account_id: str, job_type: str = "render", **asked: Any) -> str:
        """Submit a job, as ``New`` has it; return its id."""
        new = New(job_id=str(uuid.uuid4()), account_id=account_id, job_type=job_type, **asked)
        await self.hub.submit(account_id, [new])
        return new.job_id

    async def job(self, account_id: str, job_id: str) -> JobView:
        """Return a job as it stands."""
        job = await self.hub.store.read(views.show, account_id, job_id)
        assert job is not None
        return job

    async def give(self, owner: Owner, data: bytes = FILE, name: str = "") -> str:
        """Upload a file in one go; return its digest."""
        upload = await self.hub.uploads.begin(announced(str(uuid.uuid4()), owner, data, name))
        if not upload.finished:
            await self.hub.uploads.append(upload.upload_id, owner, 0, pieces(data), None)
        return upload.sha256

    async def files(self) -> set[str]:
        """Return the digests of all files that are kept."""
        return {blob.sha256 for page in await self.hub.blobs.pages() for blob in page}

    def state(self, operator: Operator) -> NodeState:
        """Return how a node stands."""
        return self.hub.network.registry[operator.node_id].state


@attrs.define
class PortGateway(Gateway):
    """A gateway as its command runs it, on a port of loopback."""

    data_dir: Path
    url: str
    postgres: sa.URL | None = None
    trust: ssl.SSLContext | None = None  # of a gateway with TLS
    stop: trio.Event = attrs.field(factory=trio.Event)
    stopped: trio.Event = attrs.field(factory=trio.Event)

    async def open(self, nursery: trio.Nursery, path: str, options: Any) -> trio_websocket.WebSocketConnection:
        """Open a WebSocket over TCP."""
        host, port = self.url.partition("://")[2].split(":")
        trust = self.trust or False
        return await trio_websocket.connect_websocket(nursery, host, int(port), path, use_ssl=trust, **options)

    def http(self, token: str = "", prefix: str = "/api/v1") -> httpx2.AsyncClient:
        """Return a client of the REST API."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        trust = {} if self.trust is None else {"verify": self.trust}
        return plain_http.client(base_url=self.url + prefix, headers=headers, timeout=PATIENCE_S, **trust)

    async def enlist(self, name: str = "node", capabilities: tuple[str, ...] = CAPABILITIES) -> Operator:
        """Register a node over HTTP."""
        key = identity.new_private_key()
        body = {"name": name, "public_key": identity.public_key_of(key), "capabilities": list(capabilities)}
        async with self.http() as http:
            answer = (await http.post("/nodes/register", json=body)).raise_for_status().json()
        return Operator(answer["node_id"], answer["token"], key)

    async def account(self, name: str = "studio", grant_ucr: int = 1_000_000_000) -> str:
        """Make an account; return a token."""
        create = partial(create_token, database=self.postgres)
        return await trio.to_thread.run_sync(create, self.data_dir, name, grant_ucr)


class NoSocket:
    """What hypercorn asks a socket, of a stream in memory that has none."""

    family = None

    def getpeername(self) -> None:
        """Nobody."""

    def getsockname(self) -> None:
        """Nowhere."""


@asynccontextmanager
async def in_memory(data_dir: Path, **settings: Any) -> AsyncIterator[MemoryGateway]:
    """Run a gateway on trio's clock alone."""
    given = GatewaySettings(data_dir=data_dir, **settings)
    wall = Wall()
    store = Store(given.database, clock=wall, inline=True)
    tokens = auth.NodeTokens(keyring.load(data_dir), store.clock)
    hub = Hub(
        settings=given, store=store, blobs=LocalBlobs(given.blobs, inline=True), tokens=tokens, network=Network(given)
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(service.work, hub)
            yield MemoryGateway(hub, Server(application(hub, api.application(hub))), wall)
            nursery.cancel_scope.cancel()
    finally:
        store.close()


@asynccontextmanager
async def on_a_port(data_dir: Path, *, limit_s: float = 5 * PATIENCE_S, **settings: Any) -> AsyncIterator[PortGateway]:
    """Run a gateway as its command does, for at most ``limit_s``; leaving stops it in order."""
    given = GatewaySettings(data_dir=data_dir, **{"port": 0, **settings})
    gateway = PortGateway(data_dir, "", given.postgres)

    async def run(*, task_status: trio.TaskStatus[str]) -> None:
        await service.run(given, stop=gateway.stop, task_status=task_status)
        gateway.stopped.set()

    with trio.fail_after(limit_s):
        async with trio.open_nursery() as nursery:
            gateway.url = await nursery.start(run)
            try:
                yield gateway
            finally:
                gateway.stop.set()


def refused(response: httpx2.Response, status: int, *words: str) -> None:
    """Check that a call was refused with a problem document whose detail is one line that says why."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert {**body, "title": "", "detail": "", "errors": []} == {
        "type": "about:blank",
        "title": "",
        "status": status,
        "detail": "",
        "instance": response.request.url.path,
        "errors": [],
    }
    assert body["title"]
    assert body["detail"]
    assert "\n" not in body["detail"]
    for word in words:
        assert word in body["detail"]


def registration(name: str = "node", **changes: Any) -> dict[str, Any]:
    """Return what a node with a fresh key registers with."""
    key = identity.public_key_of(identity.new_private_key())
    return {"name": name, "public_key": key, "capabilities": ["echo"], **changes}


async def submit(http: httpx2.AsyncClient, job_type: str = "render", **body: Any) -> dict[str, Any]:
    """Submit a job, and return it."""
    answer = await http.post("/jobs", json={"job_type": job_type, **body})
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def upload(
    gateway: PortGateway, operator: Operator, attempt_id: str, name: str, *, data: bytes = FILE, sha256: str = DIGEST
) -> httpx2.Response:
    """Hand over a file of an attempt."""
    headers = tus(len(data), name=name, sha256=sha256) | {"Content-Type": "application/offset+octet-stream"}
    async with gateway.http(operator.token) as http:
        return await http.post(f"/attempts/{attempt_id}/uploads", headers=headers, content=data)


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """Yield a body's pieces."""
    for one in data:
        yield one


def announced(upload_id: str, owner: Owner, data: bytes = FILE, name: str = "") -> Upload:
    """Return an upload of these bytes that is not begun."""
    return Upload(
        upload_id=upload_id, owner=owner, name=name, sha256=hashlib.sha256(data).hexdigest(), length=len(data)
    )


def tus(length: int, **metadata: str) -> dict[str, str]:
    """Return the headers that begin an upload."""
    told = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in metadata.items())
    return {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": told}


async def raw(gateway: PortGateway, request: str, errors: str = "strict") -> str:
    """Send a request's first bytes, and return what comes back until the gateway closes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        await stream.send_all(request.encode())
        return b"".join([bytes(piece) async for piece in stream]).decode(errors=errors)

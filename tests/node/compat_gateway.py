"""A gateway that speaks only the other dialect, on a port: written from what is known of its wire.

It registers whoever comes, takes heartbeats by REST, looks for the token in the address and refuses a wrong one with
403 at the handshake, offers no subprotocol, pings, assigns jobs, and knows neither challenges nor files.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import hypercorn.trio
import trio
from hypercorn.config import Config

from edgeagent.wire import identity
from edgeagent.wire.urls import GatewayUrl

Json = dict[str, Any]


class Line:
    """The gateway's end of one link."""

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive, self._send = receive, send
        self.over = trio.Event()

    async def say(self, kind: str, **fields: Any) -> None:
        """Send one message."""
        await self._send({"type": "websocket.send", "text": json.dumps({"type": kind, **fields})})

    async def assign(self, job_id: str, job_type: str, **payload: Any) -> None:
        """Give the node a job."""
        fields = {"job_id": job_id, "job_type": job_type, "payload_ref": "", "timestamp": "2026-01-01T00:00:00Z"}
        await self.say("job_assign", **{**payload, **fields})

    async def hear(self) -> Json:
        """Return the next message."""
        event = await self._receive()
        assert event["type"] == "websocket.receive", event
        message: Json = json.loads(event["text"])
        return message

    async def close(self, code: int) -> None:
        """Close the link."""
        await self._send({"type": "websocket.close", "code": code})
        self.over.set()


class CompatGateway:
    """All of it; ``tokens`` are good until the test removes them."""

    def __init__(self) -> None:
        self.key = identity.new_private_key()
        self.tokens: dict[str, str] = {}
        self.bodies: list[Json] = []
        self.loads: list[float] = []
        self.handshakes: list[int] = []
        self.url = GatewayUrl(False, "")
        self._offer, self._lines = trio.open_memory_channel[Line](10)

    async def accept(self) -> Line:
        """Return the next link."""
        return await self._lines.receive()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve."""
        if scope["type"] == "lifespan":
            while (event := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{event['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._link(scope, receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event["body"], event.get("more_body", False)
        status, answer = self._answer(scope["path"].removeprefix("/api/v1/"), dict(scope["headers"]), body)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def _answer(self, path: str, headers: dict[bytes, bytes], body: bytes) -> tuple[int, Json]:
        if path == "nodes/register":
            self.bodies.append(json.loads(body))
            node_id = str(uuid.uuid4())
            token = identity.issue_node_token(self.key, "k", node_id, self.bodies[-1]["capabilities"], 2e9)
            self.tokens[node_id] = token
            challenge = secrets.token_hex(32)
            return 201, {"node_id": node_id, "challenge": challenge, "token": token, "status": "REGISTERED"}
        if path == "nodes/heartbeat":
            token = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
            node_id = next((one for one, good in self.tokens.items() if good == token), None)
            if node_id is None:
                return 401, {"detail": "Invalid token"}
            self.loads.append(json.loads(body)["current_load"])
            return 200, {"node_id": node_id, "status": "HEALTHY", "acknowledged": True}
        return 404, {"detail": "Not Found"}

    async def _link(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        node_id = scope["path"].rpartition("/")[2]
        token = parse_qs(scope["query_string"].decode()).get("token", [""])[0]
        if not token or self.tokens.get(node_id) != token:
            self.handshakes.append(403)
            await send({"type": "websocket.close"})  # before it was accepted: HTTP 403
            return
        self.handshakes.append(101)
        await send({"type": "websocket.accept"})
        line = Line(receive, send)
        await self._offer.send(line)
        await line.over.wait()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[CompatGateway]:
    """Run such a gateway on loopback."""
    gateway = CompatGateway()
    listener = socket.create_server(("127.0.0.1", 0))
    gateway.url = GatewayUrl.parse(f"http://127.0.0.1:{listener.getsockname()[1]}")
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    config.graceful_timeout = 0.1
    async with trio.open_nursery() as nursery:
        await nursery.start(hypercorn.trio.serve, gateway, config)
        yield gateway
        nursery.cancel_scope.cancel()

"""A node that speaks the other dialect, as RenderTrust's own ``edgekit`` does; written from what its wire shows.

One job at a time and in the way of everything else: while one runs no ping is answered.  It acknowledges a job before
it looks at it, reads the payload from the top level of the message, and knows no subprotocol.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio_websocket
from scripted import Gateway
from scripted_node import Closed, Operator

Json = dict[str, Any]
Plugin = Callable[[Json], Awaitable[Any]]


async def echo(message: Json) -> Any:
    """Give back what came."""
    return {key: value for key, value in message.items() if key not in {"type", "job_id", "job_type", "timestamp"}}


async def cpu_benchmark(message: Json) -> Any:
    """Count the primes up to ``limit``."""
    limit = message["limit"]
    return {"primes": sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit + 1))}


class Edgekit:
    """One link."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self.websocket = websocket
        self.plugins: dict[str, Plugin] = {"echo": echo, "cpu_benchmark": cpu_benchmark}

    async def say(self, kind: str, **fields: Any) -> None:
        """Send one message."""
        await self.websocket.send_message(json.dumps({"type": kind, **fields}))

    async def hear(self) -> Json:
        """Return the next message; raises ``Closed``."""
        try:
            message: Json = json.loads(await self.websocket.get_message())
        except trio_websocket.ConnectionClosed:
            closed = self.websocket.closed
            raise Closed(closed.code, closed.reason or "") from None
        return message

    async def assigned(self) -> Json:
        """Return the next job, answering pings until it comes."""
        while (message := await self.hear())["type"] != "job_assign":
            await self._pong(message)
        return message

    async def accept(self) -> Json:
        """Wait for a job, acknowledge it and say that it runs."""
        message = await self.assigned()
        uuid.UUID(message["job_id"])
        await self.say("job_ack", job_id=message["job_id"], accepted=True)
        await self.say("status_update", job_id=message["job_id"], status="running")
        return message

    async def complete(self, message: Json, detail: Any = None) -> None:
        """Say that a job is done."""
        await self.say("status_update", job_id=message["job_id"], status="completed", progress=1.0, detail=detail)

    async def run(self) -> None:
        """Answer pings and do jobs until the gateway closes."""
        while True:
            message = await self.accept()
            try:
                detail = await self.plugins[message["job_type"]](message)
            except Exception as error:
                await self.say("status_update", job_id=message["job_id"], status="failed", detail=str(error))
            else:
                await self.complete(message, detail)

    async def closed(self) -> Closed:
        """Return how the gateway closes, reading on and answering nothing."""
        try:
            while True:
                await self.hear()
        except Closed as closed:
            return closed

    async def _pong(self, message: Json) -> None:
        assert message == {"type": "heartbeat_ping", "payload": {}}
        await self.say("heartbeat_pong", payload={})


@asynccontextmanager
async def linked(gateway: Gateway, operator: Operator) -> AsyncIterator[Edgekit]:
    """Open a link as this node, with the token in the address."""
    query = f"?token={operator.token}"
    async with gateway.connect(operator.node_id, "", subprotocols=(), query=query) as node:
        yield Edgekit(node.websocket)

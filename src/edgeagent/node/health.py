"""The node's own port, on its operator's machine: ``/health``, whether it is up and linked, and what ``page`` shows.

A raw ASGI application under hypercorn, since a few paths are not worth a framework.
"""

from __future__ import annotations

import errno
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import hypercorn.trio
import structlog
import trio
from hypercorn.config import Config

from edgeagent.errors import EdgeAgentError
from edgeagent.node.page.site import Answer, Site

log = structlog.get_logger()

_JSON = {"content-type": "application/json", "cache-control": "no-store"}
_WHY = {
    errno.EADDRINUSE: "is in use by another program",
    errno.EACCES: "may not be used without root",
    errno.EADDRNOTAVAIL: "is not an address of this machine",
}


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        EdgeAgentError: the port cannot be had; says what to do.
    """
    try:
        return socket.create_server((host, port), backlog=64)
    except OSError as error:
        why = _WHY.get(error.errno or 0, f"cannot be used: {error.strerror}")
        raise EdgeAgentError(
            f"port {port} on {host} {why}; set HEALTH_PORT to another one (0 takes a free one)"
        ) from None


async def run(
    listener: socket.socket,
    connected: Callable[[], bool],
    *,
    warnings: Callable[[], list[str]] = list,
    site: Site | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``/health``, and what ``site`` has, on ``listener`` until cancelled; ready with the address as a URL.

    Args:
        listener: closed at the end.
        connected: whether the link is up.
        warnings: what keeps the node from its work although it is up, one line each.
    """
    started = trio.current_time()

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            answer = await _answer(scope, connected(), trio.current_time() - started, warnings(), site)
            headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    host, port = listener.getsockname()[:2]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.errorlog.setLevel(logging.WARNING)  # it announces itself at INFO; what the node logs there is documented
    async with trio.open_nursery() as nursery:
        await nursery.start(hypercorn.trio.serve, app, config)
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/health"
        log.info("Health check ready", url=url)
        task_status.started(url)


async def _answer(scope: Any, connected: bool, uptime_s: float, warnings: list[str], site: Site | None) -> Answer:
    if scope["method"] not in ("GET", "HEAD"):
        return _json(405, {"detail": "use GET"})
    if scope["path"] == "/health":
        return _health(connected, uptime_s, warnings)
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    found = None if site is None else await site.answer(scope["path"], host)
    return found or _json(404, {"detail": "there are only /, /health and /metrics here"})


def _health(connected: bool, uptime_s: float, warnings: list[str]) -> Answer:
    status = "healthy" if connected else "degraded"
    document: dict[str, Any] = {"status": status, "relay_connected": connected, "uptime_seconds": int(uptime_s)}
    if warnings:
        document["warnings"] = warnings
    return _json(200 if connected else 503, document)


def _json(status: int, document: dict[str, Any]) -> Answer:
    return Answer(status, _JSON, json.dumps(document).encode())


async def _lifespan(receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

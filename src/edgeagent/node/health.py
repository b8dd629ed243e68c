"""``GET /health`` on the operator's own machine: whether the node is up and linked.

A raw ASGI application under hypercorn, since one path is not worth a framework.
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

log = structlog.get_logger()

_JSON = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
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
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``/health`` on ``listener`` until cancelled; ready with the address as a URL.

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
            status, document = _answer(
                scope["method"], scope["path"], connected(), trio.current_time() - started, warnings()
            )
            body = b"" if scope["method"] == "HEAD" else json.dumps(document).encode()
            await send({"type": "http.response.start", "status": status, "headers": _JSON})
            await send({"type": "http.response.body", "body": body})

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


def _answer(
    method: str, path: str, connected: bool, uptime_s: float, warnings: list[str]
) -> tuple[int, dict[str, Any]]:
    if path != "/health":
        return 404, {"detail": "there is only /health here"}
    if method not in ("GET", "HEAD"):
        return 405, {"detail": "use GET"}
    status = "healthy" if connected else "degraded"
    document: dict[str, Any] = {"status": status, "relay_connected": connected, "uptime_seconds": int(uptime_s)}
    if warnings:
        document["warnings"] = warnings
    return (200 if connected else 503), document


async def _lifespan(receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

"""The control socket: how commands on this machine talk with the node that runs from a home.

A path socket in the home, for its owner alone.  One line of JSON asks, one line answers, and a connection may be kept:
it ends with the node, which is how a command waits for that.  ``{"v": 1, "do": "state"}`` is answered with
``{"v": 1, "ok": true, ...}`` or ``{"v": 1, "ok": false, "error": "..."}``.  The other end is ``node.controller``.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
import trio

from edgeagent.errors import EdgeAgentError
from edgeagent.node.socketpath import SOCKET, VERSION, address

log = structlog.get_logger()

#: Longest request, in bytes.
MAX_REQUEST_BYTES = 64 << 10
#: Seconds that a client may take to say something, or to take what it asked for; it may wait for ever in between.
PATIENCE_S = 10.0
#: Most connections at one time.
_MOST = 32
Json = dict[str, Any]
#: Does what a request asks for and returns what to answer; raises ``EdgeAgentError`` for what cannot be.
Order = Callable[[Json], Awaitable[Json]]


def listen(home: Path) -> socket.socket | None:
    """Return the listening socket in ``home``, which this process alone runs from; None where there can be none."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        (home / SOCKET).unlink(missing_ok=True)  # of a node that was killed
        with address(home) as path:
            sock.bind(path)
        (home / SOCKET).chmod(0o600)  # the home is its owner's alone, so nobody was quicker
        sock.listen(_MOST)
    except OSError as error:
        sock.close()
        log.warning("No control socket: edgeagent status, pause and drain do not reach this node", reason=str(error))
        return None
    return sock


async def run(listener: socket.socket, orders: Mapping[str, Order]) -> None:
    """Serve until cancelled; ``listener`` is closed at the end.

    Args:
        listener: what ``listen`` returned.
        orders: what can be asked for, by name.
    """
    room = trio.Semaphore(_MOST)
    with trio.socket.from_stdlib_socket(listener) as accepting:
        async with trio.open_nursery() as nursery:
            while True:
                await room.acquire()
                nursery.start_soon(_serve, trio.SocketStream((await accepting.accept())[0]), orders, room)


async def _serve(stream: trio.SocketStream, orders: Mapping[str, Order], room: trio.Semaphore) -> None:
    try:
        async with stream:
            rest = b""
            while True:
                line, found, rest = rest.partition(b"\n")
                if not found:
                    if len(line) > MAX_REQUEST_BYTES:
                        return
                    more = await stream.receive_some(MAX_REQUEST_BYTES)
                    if not more:
                        return
                    rest = line + more
                    continue
                answer = json.dumps(await _answer(line, orders)) + "\n"
                with trio.fail_after(PATIENCE_S):
                    await stream.send_all(answer.encode())
    except (trio.BrokenResourceError, trio.TooSlowError):
        return  # gone, or not listening
    finally:
        room.release()


async def _answer(line: bytes, orders: Mapping[str, Order]) -> Json:
    try:
        request = json.loads(line)
    except ValueError:
        return _no("a request is one JSON object on a line")
    if not isinstance(request, dict) or request.get("v") != VERSION:
        return _no(f'a request is a JSON object with "v": {VERSION}; this node and the command differ in their version')
    order = orders.get(str(request.get("do")))
    if order is None:
        return _no(f"this node knows no {request.get('do')!r}; it knows {', '.join(orders)}")
    try:
        return {"v": VERSION, "ok": True, **await order(request)}
    except EdgeAgentError as error:
        return _no(str(error))


def _no(why: str) -> Json:
    return {"v": VERSION, "ok": False, "error": why}

"""What the node's own port answers beside ``/health``: the page, what it is made up with, and the figures.

All of it is for the owner alone: whoever asks must name the server as its owner does (``hosts``), nothing may be put
into a frame or loaded from elsewhere, and no script runs but the one that stands beside this file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from importlib.resources import files
from typing import Any

import attrs

from edgeagent.node.page import document, figures, hosts
from edgeagent.node.page.earned import Earned
from edgeagent.wire import exposition

Json = dict[str, Any]

#: Seconds after which a browser without scripts asks again.
REFRESH_S = 30.0
_STATIC = {
    "/static/status.css": ("status.css", "text/css; charset=utf-8"),
    "/static/status.js": ("status.js", "text/javascript; charset=utf-8"),
}
_SAFE = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@attrs.frozen
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


@attrs.define
class Site:
    """Answers requests; ``state`` is set once there is a node to show."""

    earned: Earned
    names: tuple[str, ...] = ()  # what else the owner calls this machine
    state: Callable[[], Awaitable[Json]] | None = None

    async def answer(self, path: str, host: str) -> Answer | None:
        """Answer a GET; None where nothing is at ``path``.  ``host`` is the request's own header, empty without one."""
        if path not in ("/", "/metrics", *_STATIC):
            return None
        if not hosts.is_ours(host, self.names):
            said = f"{host!r} is not known as this node's name; add it to the option health.names, or ask by address"
            return _text(421, said)
        if path in _STATIC:
            name, kind = _STATIC[path]
            return _found(kind, files("edgeagent.node.page").joinpath(name).read_bytes())
        if self.state is None:
            return _text(503, "the node is starting; ask again in a moment")
        state = await self.state()
        if path == "/metrics":
            return _found(exposition.CONTENT_TYPE, _bytes(figures.figures(state)))
        at = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        page = document.page(state, await self.earned.now(), at=at, refresh_s=REFRESH_S)
        return _found("text/html; charset=utf-8", _bytes(page))


def _found(kind: str, body: bytes) -> Answer:
    return Answer(200, {"content-type": kind, **_SAFE}, body)


def _text(status: int, said: str) -> Answer:
    return Answer(status, {"content-type": "text/plain; charset=utf-8", **_SAFE}, _bytes(f"{said}\n"))


def _bytes(said: str) -> bytes:
    return said.encode(errors="replace")  # JSON may bring halves of surrogate pairs, which no encoding has

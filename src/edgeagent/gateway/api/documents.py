"""A request whose body is JSON: what cannot be read of it is its sender's fault, and never one of the gateway's.

A document is in memory until all of it is there, and may come slowly; so all those that one caller is sending at the
same time have a bound together, or a thousand connections with half a batch each would take gigabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from litestar import Request

from edgeagent.gateway.api import shared, throttles
from edgeagent.gateway.api.errors import refuse

#: Bytes of bodies that one caller may be sending at the same time: four of the largest batches, or 128 other documents.
MAX_BYTES = 32 << 20
#: Seconds after which it is worth sending it again.
RETRY_S = 5


class Bodies:
    """The bytes of bodies that are being sent, by caller."""

    def __init__(self) -> None:
        self._bytes = Counter[str]()

    @contextmanager
    def room(self, caller: str, size_bytes: int) -> Iterator[None]:
        """Count a body for as long as it is read.

        Raises:
            HTTPException: the caller is sending too many already; 429.
        """
        if self._bytes[caller] and self._bytes[caller] + size_bytes > MAX_BYTES:
            raise refuse(429, "you are sending too much at the same time; send one after the other", retry_s=RETRY_S)
        self._bytes[caller] += size_bytes
        try:
            yield
        finally:
            self._bytes[caller] -= size_bytes
            if not self._bytes[caller]:
                del self._bytes[caller]


class JsonRequest(Request[Any, Any, Any]):
    """Litestar's request, which takes two faults of a body for its own: the decoder does not raise its error for them.

    The text within a string is looked at where it is needed, and Python's own limit holds how deep a document may be.
    """

    _whole: bytes | None = None

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            HTTPException: there is no room for it; 429.
        """
        if self._whole is None:
            most = self.route_handler.resolve_request_max_body_size() or MAX_BYTES
            size_bytes = most if self.content_length is None else min(self.content_length, most)
            with shared.of(self).bodies.room(throttles.who(self), size_bytes):
                self._whole = await super().body()
        return self._whole

    async def json(self) -> Any:
        """Return the body's document.

        Raises:
            HTTPException: it is none; 422.
        """
        try:
            return await super().json()
        except UnicodeDecodeError:
            raise refuse(422, "the body is not JSON: it is not UTF-8") from None
        except RecursionError:
            raise refuse(422, "the body is nested too deeply") from None

"""Which source a reference leads to, and which kinds of references this node can fetch at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from edgeagent.node.fetch import s3
from edgeagent.node.fetch.gateway import GatewaySource, Shop
from edgeagent.node.fetch.https import Https
from edgeagent.node.fetch.s3 import S3
from edgeagent.node.fetch.source import BLOB, HTTPS, Source, UnusableError, kind_of
from edgeagent.wire.messages import JobDispatch


def kinds() -> tuple[str, ...]:
    """Return the kinds of references that this installation fetches, for Hello."""
    return (BLOB, HTTPS, *((s3.KIND,) if s3.available() else ()))


@attrs.frozen(kw_only=True)
class Places:
    """The ``Sources`` of a real node."""

    api: Shop
    token: Callable[[], str]
    https: Https
    s3: S3

    def find(self, dispatch: JobDispatch, name: str | None, ref: str) -> Source:
        """Return the source of an input by its name, or of the payload (see ``inputs.Sources``)."""
        kind = kind_of(ref)
        if kind not in kinds():
            raise UnusableError(f"this node does not fetch {kind}: references")
        if kind == BLOB:
            return GatewaySource(self.api, self.token, dispatch.attempt_id, name)
        outside: Any = self.https if kind == HTTPS else self.s3
        source: Source = outside.at(ref)
        return source

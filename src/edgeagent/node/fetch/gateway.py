"""Files that the gateway keeps, for an attempt that this node holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import attrs
import httpx2

from edgeagent.errors import RefusedError, UnreachableError
from edgeagent.node.fetch.source import Arriving, ChangedError, UnreachedError, range_headers, read_answer


class Shop(Protocol):
    """What this needs of ``node.api``."""

    def fetch(
        self, token: str, attempt_id: str, name: str | None, headers: dict[str, str]
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        """Ask for an input of an attempt by its name, or for its payload."""
        ...


@attrs.frozen
class GatewaySource:
    """A ``Source``: one input of an attempt, or its payload where there is no name."""

    _api: Shop
    _token: Callable[[], str]
    _attempt_id: str
    _name: str | None

    @asynccontextmanager
    async def open(self, offset: int, validator: str | None) -> AsyncIterator[Arriving]:
        """Begin to read (see ``Source.open``)."""
        headers = range_headers(offset, validator)
        try:
            async with self._api.fetch(self._token(), self._attempt_id, self._name, headers) as answer:
                yield read_answer(answer.status_code, answer.headers, offset, answer.aiter_raw())
        except RefusedError as error:
            if offset:
                raise ChangedError(str(error)) from None
            raise UnreachedError(str(error), lasting=True) from None  # the attempt is not ours any more
        except UnreachableError as error:
            raise UnreachedError(str(error)) from None

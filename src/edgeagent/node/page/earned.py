"""What this node has earned, asked of its gateway when somebody looks at the page, and seldom even then."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio

from edgeagent.errors import EdgeAgentError
from edgeagent.node.page.books import Books, read

log = structlog.get_logger()

#: Seconds that one answer is good for, and after which a question that was not answered is asked again.
FRESH_S = 60.0
#: Seconds that a page waits for the gateway.
PATIENCE_S = 3.0


class Earned:
    """Holds the last answer."""

    def __init__(self, ask: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        """``ask`` gets ``/nodes/me/earnings``, or raises ``EdgeAgentError``."""
        self._ask = ask
        self._books: Books | None = None
        self._asked_at = -math.inf
        self._asking = trio.Lock()

    async def now(self) -> Books | None:
        """Return the books of the last minute, or of when the gateway last answered; None: it never has."""
        async with self._asking:
            if trio.current_time() - self._asked_at >= FRESH_S:
                self._asked_at = trio.current_time()
                try:
                    with trio.move_on_after(PATIENCE_S):
                        self._books = read(await self._ask()) or self._books
                except EdgeAgentError as error:
                    log.debug("Earnings not known", reason=str(error))
        return self._books

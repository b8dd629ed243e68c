"""Asks the gateway what became of results that it had held, where the node did not hear that.

A verdict is said once, on the link that the node has at that moment.  A node without one, or one that was killed before
the verdict was on its disk, asks for it by REST: after each Welcome, and ``earnings verify`` before it looks.  Nothing
falls between: what is decided after the Welcome is said on that link.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from edgeagent.errors import RefusedError, UnreachableError
from edgeagent.node.outbox import Outbox
from edgeagent.wire.messages import JobVerdict

log = structlog.get_logger()

#: Attempts that are asked about at a time; the gateway takes no more.
TOGETHER = 100
#: Seconds until the gateway is asked again on the same link, where it did not answer.
AGAIN_S = 60.0

#: Returns receipts that wait for a verdict, as ``Book.held``.
Held = Callable[[int, int], Awaitable[list[tuple[int, str]]]]
#: Returns the verdicts on those of these attempts that are decided; raises ``RefusedError`` or ``UnreachableError``.
Ask = Callable[[Sequence[str]], Awaitable[list[JobVerdict]]]
#: Notes a verdict, as ``Sender.judge``.
Tell = Callable[[JobVerdict], Awaitable[object]]


async def recall(held: Held, ask: Ask, tell: Tell) -> None:
    """Ask once about every receipt that waits, and tell each verdict.  Raises what ``held`` and ``ask`` do."""
    seen = 0
    while portion := await held(seen, TOGETHER):
        seen = portion[-1][0]
        for verdict in await ask([attempt_id for _, attempt_id in portion]):
            await tell(verdict)


async def run(outbox: Outbox, held: Held, ask: Ask, tell: Tell) -> None:
    """Ask after each Welcome, until cancelled."""
    while True:
        await outbox.opened.wait()
        lost = outbox.lost
        while not lost.is_set():
            try:
                await recall(held, ask, tell)
            except RefusedError as error:
                log.warning("The gateway does not say what became of held results", reason=str(error))
            except (UnreachableError, OSError, sqlite3.Error) as error:
                log.warning("What became of held results is not known yet", reason=str(error))
                with trio.move_on_after(AGAIN_S):
                    await lost.wait()
                continue
            await lost.wait()

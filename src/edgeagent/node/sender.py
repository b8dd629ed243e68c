"""Delivers results: output files by REST first, then the result on the link, again and again until acknowledged.

One task per result, and one is enough state: it ends when the gateway has said that it holds the result, and only then
is the spool told to forget it.  A lost link wakes the tasks, and each says its result anew on the next one.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol

import attrs
import structlog
import trio

from edgeagent.errors import RefusedError, UnreachableError
from edgeagent.node.backoff import Backoff
from edgeagent.node.outbox import Outbox
from edgeagent.node.receipts.keeper import Keeper
from edgeagent.wire.messages import JobResult, JobResultAck, JobVerdict, Outcome, Output

log = structlog.get_logger()

#: Seconds after which a result that was said and not acknowledged is said again on the same link.
RESEND_S = 30.0
#: Uploads at the same time; more would share the same line.
UPLOADS = 4

#: Uploads one file: attempt id, what it is, where it lies.  Raises ``RefusedError`` or ``UnreachableError``.
Upload = Callable[[str, Output, Path], Awaitable[None]]


class Shelf(Protocol):
    """What the sender needs of the spool."""

    def outputs(self, attempt_id: str) -> Path:
        """Return where the files lie."""
        ...

    async def finish(self, result: JobResult) -> None:
        """Store a result, instead of what was stored."""

    async def drop(self, attempt_id: str) -> None:
        """Forget an attempt."""


class Sender:
    """All results on their way; ``nursery`` is the link ring's."""

    def __init__(
        self,
        nursery: trio.Nursery,
        outbox: Outbox,
        shelf: Shelf,
        upload: Upload,
        rng: random.Random | None = None,
        *,
        credited: Callable[[JobResultAck], None] = lambda ack: None,
        receipts: Keeper | None = None,
    ) -> None:
        self._nursery = nursery
        self._outbox = outbox
        self._shelf = shelf
        self._upload = upload
        self._rng = rng or random.Random()  # noqa: S311 (jitter, not a secret)
        self._credited = credited
        self._receipts = receipts
        self._uploads = trio.CapacityLimiter(UPLOADS)
        self._pending: dict[str, _Delivery] = {}
        self._empty = trio.Event()
        self._empty.set()
        self.credited_ucr = 0  # for what was acknowledged since the start

    def __iter__(self) -> Iterator[str]:
        """The attempt ids whose results are not acknowledged."""
        return iter(self._pending)

    @property
    def unsent_bytes(self) -> int:
        """What the output files of these results take on the disk."""
        return sum(output.size_bytes for each in self._pending.values() for output in each.result.outputs)

    def deliver(self, result: JobResult) -> None:
        """Take over a result that is on disk."""
        if not self._pending:
            self._empty = trio.Event()
        delivery = self._pending[result.attempt_id] = _Delivery(result)
        self._nursery.start_soon(self._run, delivery)

    def acknowledged(self, ack: JobResultAck) -> None:
        """The gateway has a result on its own disk."""
        delivery = self._pending.get(ack.attempt_id)
        if delivery is not None:
            if delivery.ack is None:
                self.credited_ucr += ack.credited_ucr
                self._credited(ack)
            delivery.ack = ack
            delivery.news.set()

    def judged(self, verdict: JobVerdict) -> None:
        """The gateway has compared a result that it had held."""
        log.info(
            "Result compared with others",
            attempt_id=verdict.attempt_id,
            credited_ucr=verdict.credited_ucr,
            reason=verdict.reason,
        )
        self._nursery.start_soon(self.judge, verdict)

    async def judge(self, verdict: JobVerdict) -> None:
        """The same, and return once it is noted; what was heard before counts no second time."""
        if self._receipts is None or await self._receipts.judged(verdict):
            self.credited_ucr += verdict.credited_ucr
            self._credited(JobResultAck(attempt_id=verdict.attempt_id, credited_ucr=verdict.credited_ucr))

    def link_lost(self) -> None:
        """What was said on the last link may not have arrived."""
        for delivery in self._pending.values():
            delivery.news.set()

    async def flushed(self) -> None:
        """Wait until nothing is left to deliver."""
        while self._pending:
            await self._empty.wait()

    async def _run(self, delivery: _Delivery) -> None:
        await self._upload_all(delivery)
        while delivery.ack is None:
            await self._outbox.opened.wait()
            if not self._outbox.is_open:
                continue  # lost again before this task ran
            delivery.news = trio.Event()
            if self._receipts is not None:  # each time anew: the node's key may be another one by now
                delivery.result = self._receipts.signed(delivery.result)
            self._outbox.say(delivery.result)
            with trio.move_on_after(RESEND_S):
                await delivery.news.wait()
        log.debug("Result acknowledged", attempt_id=delivery.result.attempt_id, credited_ucr=delivery.ack.credited_ucr)
        await self._forget(delivery.result, delivery.ack)

    async def _upload_all(self, delivery: _Delivery) -> None:
        result, backoff = delivery.result, Backoff(self._rng)
        for number, output in enumerate(result.outputs):
            path = self._shelf.outputs(result.attempt_id) / str(number)
            while True:
                try:
                    async with self._uploads:
                        await self._upload(result.attempt_id, output, path)
                    backoff.reset()
                    break
                except UnreachableError as error:
                    log.warning("Output not uploaded, trying again", output=output.name, reason=str(error))
                    await trio.sleep(backoff.next_s())
                except (RefusedError, OSError) as error:
                    await self._give_up(delivery, f"the output {output.name!r} could not be delivered: {error}")
                    return

    async def _give_up(self, delivery: _Delivery, detail: str) -> None:
        """Without its files the result is not one: what is delivered instead says so."""
        log.error("Output refused", attempt_id=delivery.result.attempt_id, detail=detail)
        delivery.result = attrs.evolve(
            delivery.result, outcome=Outcome.SETUP_FAILED, detail=detail[:1000], value=None, result_ref=None, outputs=()
        )
        try:
            await self._shelf.finish(delivery.result)
        except (OSError, sqlite3.Error) as error:
            log.warning("Spool not written", reason=str(error))

    async def _forget(self, result: JobResult, ack: JobResultAck) -> None:
        attempt_id = result.attempt_id
        dropped = await self._drop(result, ack)
        self._outbox.forget(attempt_id)
        del self._pending[attempt_id]
        if not self._pending:
            self._empty.set()
        backoff = Backoff(self._rng)
        while not dropped:  # the disk is full: what is delivered must not lie there until the next start
            await trio.sleep(backoff.next_s())
            dropped = await self._drop(result, ack)

    async def _drop(self, result: JobResult, ack: JobResultAck) -> bool:
        try:
            if self._receipts is not None:
                await self._receipts.keep(result, ack)  # first: what is dropped is never acknowledged again
            await self._shelf.drop(result.attempt_id)
        except (OSError, sqlite3.Error) as error:
            log.warning("Spool not written", reason=str(error))
            return False
        return True


@attrs.define(eq=False)
class _Delivery:
    result: JobResult
    ack: JobResultAck | None = None
    news: trio.Event = attrs.field(factory=trio.Event)  # an ack, or the loss of the link

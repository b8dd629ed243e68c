"""Runs requests on the database: reads beside each other, writes through one task that commits them together.

A request is a plain function of a ``Tx`` and what else it needs.  The writer takes whatever waits in its channel, runs
each request under a SAVEPOINT and commits once, which is 10 to 25 times the rate of single commits; a request that
raises is undone alone.  Threads are the only way to run this beside trio; ``inline`` runs everything in the caller
instead, for a whole network in one process on a virtual clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import attrs
import outcome
import trio

from edgeagent.gateway.metrics import Histogram
from edgeagent.gateway.store.engine import Database, migrate, open_at_hand, open_engine
from edgeagent.gateway.store.faults import DATABASE_FAULTS, StoreUnavailableError, unavailable
from edgeagent.gateway.store.writer import Outcomes, Request, Tx, Writer

#: The one wall clock of the gateway; everything else counts on trio's.
wall_clock = time.time

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")

#: Most requests in one commit, so that the first of them does not wait long.
MAX_BATCH = 256
#: Requests that may wait; the next one waits before it is let in.
MAX_WAITING = 1024
#: Reads at the same time.
READERS = 4
#: Seconds between two questions what became of a commit.
DOUBT_S = 0.5

_STOPPED = "the gateway is shutting down"


@attrs.define(eq=False)
class _Waiting:
    request: Request
    result: outcome.Outcome[list[Any]] | None = None
    done: trio.Event = attrs.field(factory=trio.Event)


class Store:
    """The database of one gateway.  ``run`` must run while it is used, unless it is ``inline``.

    Args:
        database: a SQLite file, made when missing, or the address of a PostgreSQL database; gets its schema here.
        clock: seconds since the epoch.
        inline: run requests in the caller's task, without threads.
        durable: False where a crash of the machine may take the last commits with it; for simulations.

    Raises:
        DBAPIError: it cannot be used, or another gateway uses the PostgreSQL database.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = wall_clock,
        inline: bool = False,
        durable: bool = True,
    ) -> None:
        self.clock = clock
        self.batches = Histogram(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
        self._inline = inline
        self._closed = False
        with contextlib.ExitStack() as undo:
            self._writing = open_engine(database, writer=True, exclusive=True, durable=durable)
            undo.callback(self._writing.dispose)
            migrate(self._writing)
            self._writer = Writer(self._writing, clock)
            self._reading = open_engine(database, writer=False)
            undo.callback(self._reading.dispose)
            self._at_hand = open_at_hand(database)
            undo.pop_all()
        self._readers = trio.CapacityLimiter(READERS)
        self._waiting, self._requests = trio.open_memory_channel[_Waiting](MAX_WAITING)

    def close(self) -> None:
        """Let go of the database.  What still waits is never run, and its callers are told so."""
        self._closed = True
        self._requests.close()
        self._writer.close()
        self._writing.dispose()
        self._reading.dispose()
        if self._at_hand is not None:
            self._at_hand.close()
            self._at_hand.engine.dispose()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit requests until cancelled."""
        task_status.started()
        batch: list[_Waiting] = []
        try:
            while True:
                batch = [await self._requests.receive(), *self._take_waiting(MAX_BATCH - 1)]
                await self._commit(batch)
        finally:
            # Closing the channel would throw away what waits in it, and leave its callers waiting for ever.
            for waiting in [*batch, *self._take_waiting(None)]:
                if waiting.result is None:
                    waiting.result = outcome.Error(StoreUnavailableError(_STOPPED))
                waiting.done.set()
            self._requests.close()

    async def write(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a transaction and return what it returned, once that is on disk.

        A caller that is cancelled meanwhile does not hear what became of its request; it may well be stored.

        Raises:
            StoreUnavailableError: nothing was stored.
            Exception: whatever ``work`` raised; nothing of it was stored.
        """
        (result,) = await self._write(Request(lambda tx, _: [work(tx, *args, **kwargs)], [None]))
        return cast(T, result)

    async def write_all(self, work: Callable[[Tx, Sequence[Item]], Sequence[T]], items: Sequence[Item]) -> list[T]:
        """Run ``work`` on items as ``write`` does, and return what it returned for each.

        What others ask of the same work at the same time is done by the same call: ``work`` is a function, not made for
        the call, and its items are independent of each other.
        """
        return await self._write(Request(work, items)) if items else []

    async def _write(self, request: Request) -> list[Any]:
        waiting = _Waiting(request)
        if self._inline:
            await trio.lowlevel.checkpoint()
            await self._commit([waiting])
        else:
            try:
                await self._waiting.send(waiting)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise StoreUnavailableError(_STOPPED) from None
            await waiting.done.wait()
        assert waiting.result is not None
        return waiting.result.unwrap()

    async def read(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work``, which changes nothing, on what is committed now, and return what it returned.

        Raises:
            StoreUnavailableError: the database cannot be read.
            Exception: whatever ``work`` raised.
        """

        def read() -> T:
            with self._reading.connect() as connection:
                return work(Tx(connection, self.clock()), *args, **kwargs)

        if self._inline:
            await trio.lowlevel.checkpoint()
            return self._read(read)
        return await trio.to_thread.run_sync(self._read, read, limiter=self._readers)

    async def look_up(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work``, which looks at a few rows by their keys, as ``read`` does, but without a thread where it can.

        On SQLite that takes a third of a millisecond less than the way to a thread and back, for every request to the
        API.  Whatever takes long, or grows with the data, would hold up every link: that is for ``read``.

        Raises:
            StoreUnavailableError: the database cannot be read.
            Exception: whatever ``work`` raised.
        """
        if self._at_hand is not None and not self._closed:
            await trio.lowlevel.checkpoint()
            try:
                with self._at_hand.begin():
                    return work(Tx(self._at_hand, self.clock()), *args, **kwargs)
            except DATABASE_FAULTS:
                pass  # locked, most likely: a thread can wait for it, and says what is wrong
        return await self.read(work, *args, **kwargs)

    def _read(self, read: Callable[[], T]) -> T:
        if self._closed:
            raise StoreUnavailableError(_STOPPED)
        try:
            try:
                return read()
            except DATABASE_FAULTS as error:
                if not error.connection_invalidated:
                    raise
                return read()  # the server was restarted since the last time; all old connections are gone now
        except DATABASE_FAULTS as error:
            raise unavailable(error) from error

    def _take_waiting(self, most: int | None) -> list[_Waiting]:
        taken: list[_Waiting] = []
        with contextlib.suppress(trio.WouldBlock):
            while most is None or len(taken) < most:
                taken.append(self._requests.receive_nowait())
        return taken

    async def _commit(self, batch: list[_Waiting]) -> None:
        """Run a batch and tell every caller how its request ended."""
        self.batches.observe(len(batch))
        outcomes: Outcomes | None = None
        # Shielded: a commit takes milliseconds, and its callers must hear what became of it.
        with trio.CancelScope(shield=True):
            outcomes = await self._call(self._writer.commit, [waiting.request for waiting in batch])
        while outcomes is None:
            await trio.sleep(DOUBT_S)
            outcomes = await self._call(self._writer.settle)
        for waiting, result in zip(batch, outcomes, strict=True):
            waiting.result = result
            waiting.done.set()

    async def _call(self, blocking: Callable[..., Outcomes | None], *args: Any) -> Outcomes | None:
        if self._closed:
            raise StoreUnavailableError(_STOPPED)
        return blocking(*args) if self._inline else await trio.to_thread.run_sync(blocking, *args)

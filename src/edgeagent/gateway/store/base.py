"""Runs requests on the database: reads beside each other, writes through one task that commits them together.

A request is a plain function of a ``Tx`` and what else it needs.  The writer takes whatever waits in its channel, runs
each request under a SAVEPOINT and commits once, which is 10 to 25 times the rate of single commits; a request that
raises is undone alone.  Threads are the only way to run this beside trio; ``inline`` runs everything in the caller
instead, for a whole network in one process on a virtual clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import attrs
import outcome
import sqlalchemy as sa
import trio
from sqlalchemy.exc import OperationalError

from edgeagent.gateway.store.engine import migrate, open_engine

#: The one wall clock of the gateway; everything else counts on trio's.
wall_clock = time.time

P = ParamSpec("P")
T = TypeVar("T")

#: Most requests in one commit, so that the first of them does not wait long.
MAX_BATCH = 256
#: Requests that may wait; the next one waits before it is let in.
MAX_WAITING = 1024
#: Reads at the same time.
READERS = 4


class StoreUnavailableError(Exception):
    """The database cannot be used now (disk full, locked, shut down); nothing of the request was stored."""


@attrs.frozen
class Tx:
    """One transaction: its connection, and when it is, in seconds since the epoch on the gateway's clock."""

    connection: sa.Connection
    now: float


@attrs.define(eq=False)
class _Request(Generic[T]):
    work: Callable[[Tx], T]
    result: outcome.Outcome[T] | None = None
    done: trio.Event = attrs.field(factory=trio.Event)


class Store:
    """The database of one gateway.  ``run`` must run while it is used, unless it is ``inline``.

    Args:
        database: the SQLite file; made, with its schema, when missing.
        clock: seconds since the epoch.
        inline: run requests in the caller's task, without threads.
    """

    def __init__(self, database: Path, *, clock: Callable[[], float] = wall_clock, inline: bool = False) -> None:
        self.clock = clock
        self._inline = inline
        self._writing = open_engine(database, writer=True)
        migrate(self._writing)
        self._reading = open_engine(database, writer=False)
        self._readers = trio.CapacityLimiter(READERS)
        self._connection = self._writing.connect()
        self._waiting, self._requests = trio.open_memory_channel[_Request[Any]](MAX_WAITING)

    def close(self) -> None:
        """Let go of the database.  What still waits is never run, and its callers are told so."""
        self._requests.close()
        self._connection.close()
        self._writing.dispose()
        self._reading.dispose()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit requests until cancelled."""
        task_status.started()
        try:
            while True:
                batch = [await self._requests.receive(), *self._take_waiting(MAX_BATCH - 1)]
                # Shielded: a commit takes milliseconds, and its callers must hear what became of it.
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._commit, batch)
                for request in batch:
                    request.done.set()
        finally:
            # Closing the channel would throw away what waits in it, and leave its callers waiting for ever.
            for request in self._take_waiting(None):
                request.result = outcome.Error(StoreUnavailableError("the gateway is shutting down"))
                request.done.set()
            self._requests.close()

    async def write(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a transaction and return what it returned, once that is on disk.

        A caller that is cancelled meanwhile does not hear what became of its request; it may well be stored.

        Raises:
            StoreUnavailableError: nothing was stored.
            Exception: whatever ``work`` raised; nothing of it was stored.
        """
        request: _Request[T] = _Request(lambda tx: work(tx, *args, **kwargs))
        if self._inline:
            await trio.lowlevel.checkpoint()
            self._commit([request])
        else:
            try:
                await self._waiting.send(request)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise StoreUnavailableError("the gateway is shutting down") from None
            await request.done.wait()
        return cast(outcome.Outcome[T], request.result).unwrap()

    async def read(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work``, which changes nothing, on what is committed now, and return what it returned.

        Raises:
            StoreUnavailableError: the database cannot be read.
            Exception: whatever ``work`` raised.
        """

        def read() -> T:
            try:
                with self._reading.connect() as connection:
                    return work(Tx(connection, self.clock()), *args, **kwargs)
            except OperationalError as error:
                raise _unavailable(error) from error

        if self._inline:
            await trio.lowlevel.checkpoint()
            return read()
        return await trio.to_thread.run_sync(read, limiter=self._readers)

    def _take_waiting(self, most: int | None) -> list[_Request[Any]]:
        taken: list[_Request[Any]] = []
        with contextlib.suppress(trio.WouldBlock):
            while most is None or len(taken) < most:
                taken.append(self._requests.receive_nowait())
        return taken

    def _commit(self, batch: list[_Request[Any]]) -> None:
        """Run a batch and set every request's result; in a thread, so it touches no event."""
        try:
            with self._connection.begin():
                tx = Tx(self._connection, self.clock())
                results = [_run_one(tx, request.work) for request in batch]
        except OperationalError as error:
            results = [outcome.Error(_unavailable(error)) for _ in batch]
        for request, result in zip(batch, results, strict=True):
            request.result = result


def _run_one(tx: Tx, work: Callable[[Tx], T]) -> outcome.Outcome[T]:
    # Spelled out, because begin_nested() costs as much as four statements.
    tx.connection.exec_driver_sql("SAVEPOINT request")
    try:
        result: outcome.Outcome[T] = outcome.Value(work(tx))
    except OperationalError:
        raise  # the database, not the request: SQLite may have undone the whole transaction
    except Exception as error:
        tx.connection.exec_driver_sql("ROLLBACK TO SAVEPOINT request")
        result = outcome.Error(error)
    tx.connection.exec_driver_sql("RELEASE SAVEPOINT request")
    return result


def _unavailable(error: OperationalError) -> StoreUnavailableError:
    return StoreUnavailableError(f"the database cannot be used now: {error.orig}")

"""The one connection that writes: many requests in one transaction, each undone alone if it raises.

Requests for the same work are done by one call of it, with the items of all; should that raise, each is run alone.

Blocking; ``store.base`` calls it from one thread at a time.  When the connection to a PostgreSQL server breaks while a
commit is under way, nobody can say whether it happened: memory and database would go apart.  So the writer keeps what
it was about to answer, and asks the server once it can be reached again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import outcome
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from edgeagent.gateway.store import postgres
from edgeagent.gateway.store.faults import DATABASE_FAULTS, StoreUnavailableError, unavailable

#: Most items in one call of a work, but for one request that has more: databases limit a statement's parameters.
MAX_TOGETHER = 500

Outcomes = list[outcome.Outcome[Any]]


@attrs.frozen
class Tx:
    """One transaction: its connection, and when it is, in seconds since the epoch on the gateway's clock."""

    connection: sa.Connection
    now: float


@attrs.frozen(eq=False)
class Request:
    """``work`` gets items, in order, of this request and of others for the same work; it returns what comes of each."""

    work: Callable[[Tx, Sequence[Any]], Sequence[Any]]
    items: Sequence[Any]


@attrs.frozen
class _Doubt:
    transaction: str
    if_committed: Outcomes
    error: StoreUnavailableError


class _BrokenError(Exception):
    """The connection is gone, and what was begun on it never happened."""


class Writer:
    """Runs batches of requests on one connection of ``engine``."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float]) -> None:
        self._connection = engine.connect()
        self._clock = clock
        self._doubt: _Doubt | None = None

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def commit(self, requests: Sequence[Request]) -> Outcomes | None:
        """Run the requests and return how each ended, on disk; None if that is in doubt: then call ``settle``.

        A request's outcome is a list of what came of its items, or what its work raised.

        A connection that breaks before the commit is opened again, once: the server may have been restarted long ago.
        """
        try:
            return self._commit(requests)
        except _BrokenError:
            pass
        try:
            return self._commit(requests)
        except _BrokenError as error:
            return [outcome.Error(StoreUnavailableError(str(error))) for _ in requests]

    def _commit(self, requests: Sequence[Request]) -> Outcomes | None:
        outcomes: Outcomes = []
        transaction: str | None = None  # once it is being committed
        try:
            with self._connection.begin():
                tx = Tx(self._connection, self._clock())
                outcomes = _run_all(tx, requests)
                if self._connection.dialect.name == "postgresql":
                    transaction = postgres.transaction_id(self._connection)
        except DATABASE_FAULTS as error:
            refused = unavailable(error)
            if error.connection_invalidated:
                if transaction is None:
                    raise _BrokenError(str(refused)) from error
                self._doubt = _Doubt(transaction, outcomes, refused)
                return None
            return [outcome.Error(refused) for _ in requests]
        return outcomes

    def settle(self) -> Outcomes | None:
        """Return how the requests of the commit in doubt ended; None while the database cannot be asked."""
        assert self._doubt is not None
        doubt = self._doubt
        try:
            with self._connection.begin():
                committed = postgres.was_committed(self._connection, doubt.transaction)
        except DBAPIError:
            return None
        self._doubt = None
        return doubt.if_committed if committed else [outcome.Error(doubt.error) for _ in doubt.if_committed]


def _run_all(tx: Tx, requests: Sequence[Request]) -> Outcomes:
    outcomes: dict[Request, outcome.Outcome[list[Any]]] = {}
    for together in _grouped(requests):
        done = _run(tx, together)
        if isinstance(done, outcome.Error) and len(together) > 1:
            outcomes |= {request: _run(tx, [request]) for request in together}
        elif isinstance(done, outcome.Error):
            outcomes[together[0]] = done
        else:
            results = iter(done.unwrap())
            for request in together:
                outcomes[request] = outcome.Value(list(itertools.islice(results, len(request.items))))
    return [outcomes[request] for request in requests]


def _grouped(requests: Sequence[Request]) -> list[list[Request]]:
    """Return the requests by their work, in the order in which each work was asked for first."""
    groups: list[list[Request]] = []
    of_work: dict[Callable[..., Any], tuple[list[Request], int]] = {}
    for request in requests:
        group, size = of_work.get(request.work, ([], MAX_TOGETHER))
        if size + len(request.items) > MAX_TOGETHER:
            group, size = [], 0
            groups.append(group)
        group.append(request)
        of_work[request.work] = (group, size + len(request.items))
    return groups


def _run(tx: Tx, together: Sequence[Request]) -> outcome.Outcome[list[Any]]:
    # Spelled out, because begin_nested() costs as much as four statements.
    tx.connection.exec_driver_sql("SAVEPOINT request")
    try:
        items = [item for request in together for item in request.items]
        result: outcome.Outcome[list[Any]] = outcome.Value(list(together[0].work(tx, items)))
    except DATABASE_FAULTS:
        raise  # the database, not the request: it may have undone the whole transaction
    except Exception as error:
        tx.connection.exec_driver_sql("ROLLBACK TO SAVEPOINT request")
        result = outcome.Error(error)
    tx.connection.exec_driver_sql("RELEASE SAVEPOINT request")
    return result

"""Nodes that have earned something in some months, in a gateway's database without a gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import sqlalchemy as sa

from edgeagent.gateway import ledger, payroll
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.payouts import State
from edgeagent.gateway.payroll import Ask, Order, Report
from edgeagent.gateway.rails import Batch, Outcome, Rail
from edgeagent.gateway.store import Tx, nodes, payout_addresses, standings, verification
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store import payouts as stored
from edgeagent.gateway.store.engine import migrate, open_engine
from edgeagent.gateway.store.verification import Wrong
from edgeagent.wire.receipts import month_bounds

CREDIT = 1_000_000


@attrs.define
class Teller:
    """A rail that pays at once, remembers whom, and may be told to break or to turn a payment down."""

    paid: dict[str, int] = attrs.Factory(dict)
    refuses: str = ""
    breaks_after: int | None = None

    def instruct(self, batch: Batch) -> Iterator[Outcome]:
        """Pay what was not paid before: ``payment_id`` is what a money service would know it by."""
        for number, one in enumerate(batch.payments):
            if number == self.breaks_after:
                raise ConnectionResetError("the bank hung up")
            if one.name == self.refuses:
                yield Outcome(payment_id=one.payment_id, state=State.FAILED, why="unknown account")
                continue
            assert self.paid.setdefault(one.payment_id, one.amount_ucr) == one.amount_ucr
            yield Outcome(payment_id=one.payment_id, state=State.PAID, reference=f"transfer {one.payment_id}")


@attrs.define
class Network:
    """A database, and a clock that the test sets."""

    place: GatewaySettings
    engine: sa.Engine
    now: float = month_bounds("2026-09")[0]
    _posted: int = 0

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Run the block in a transaction, at the time that it is."""
        with self.engine.begin() as connection:
            yield Tx(connection, self.now)

    def at(self, month: str, day: int = 15) -> None:
        """Set the clock to noon of a day."""
        self.now = month_bounds(month)[0] + (day - 1) * 86400 + 43200

    def add(self, name: str, address: str | None = "bank") -> str:
        """Register a node; return its id."""
        with self.transaction() as tx:
            node_id = nodes.register(tx, nodes.Applicant(name, f"key {name}", ("echo", "render"), {}))
            if address is not None:
                payout_addresses.change(tx, node_id, address)
            return node_id

    def earn(self, node_id: str, amount_ucr: int) -> None:
        """Have a node earn something now, or lose it."""
        self._posted += 1
        entry = ledger.adjustment(ledger.node_account(node_id), amount_ucr, f"earned {self._posted}", "")
        with self.transaction() as tx:
            books.post(tx, entry)
            standings.adjust_earned(tx, node_id, amount_ucr)

    def pay(self, rail: Rail, month: str = "2026-10", minimum_ucr: int = CREDIT, *, steps: int | None = None) -> Any:
        """Pay a month, or only the first steps of it; return the report, or None."""
        running = payroll.steps(Order(month=month, minimum_ucr=minimum_ucr, rail="test"), rail, "owner test")
        came: Any = None
        while steps is None or steps > 0:
            steps = None if steps is None else steps - 1
            try:
                step = running.send(came)
            except StopIteration as end:
                report: Report = end.value
                return report
            if isinstance(step, Ask):
                came = step.call()
            else:
                with self.transaction() as tx:
                    came = step.work(tx)
        return None

    def states(self, month: str = "2026-10") -> dict[str, tuple[State, int]]:
        """Return how each node stands, by its name."""
        with self.transaction() as tx:
            return {one.name: (one.state, one.amount_ucr) for one in stored.listed(tx, month)}

    def balance(self, node_id: str) -> int:
        """Return what a node has, in micro-credits."""
        account = ledger.node_account(node_id)
        with self.transaction() as tx:
            return books.balances(tx, [account]).get(account, 0)

    def wrong(self) -> tuple[Wrong, ...]:
        """Return what the auditor says of the books."""
        with self.transaction() as tx:
            return verification.verify(tx).wrong


def make_network(place: GatewaySettings) -> Network:
    """Make the database."""
    engine = open_engine(place.database, writer=True, durable=False)
    migrate(engine)
    return Network(place, engine)

"""Paying a month: the one order of things, for the owner's command and for the gateway itself.

Credits leave the nodes' accounts first, a batch of nodes at a time, each in a transaction; then the rail is told of the
payments that nobody was told of; then what it said is stored.  Whatever happens in between, the next run goes on from
what is stored.  The order is a generator of steps, which do not say who does them: ``pay`` below, in transactions of a
command's own, and ``gateway.payday``, by way of the running gateway's writer.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import installed, rails
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import make_data_dir, owner, reading, writing
from edgeagent.gateway.payouts import Decision, MonthNotOverError, State
from edgeagent.gateway.rails import Rail
from edgeagent.gateway.store import Tx
from edgeagent.gateway.store import payouts as stored
from edgeagent.gateway.store.payouts import Month

T = TypeVar("T")
_LOCK = "payouts.lock"


@attrs.frozen(kw_only=True)
class Order:
    """What is to be paid: a month of UTC, to nodes that are owed at least so much, by the rail of this name."""

    month: str
    minimum_ucr: int
    rail: str


@attrs.frozen
class Write:
    """A step: run this in a transaction."""

    work: Callable[[Tx], Any]


@attrs.frozen
class Ask:
    """A step: call the rail, which may take its time."""

    call: Callable[[], Any]


Steps = Generator[Write | Ask, Any, T]


@attrs.frozen(kw_only=True)
class Report:
    """How a month stands after a run.

    ``told`` counts the payments that the rail was told of by this run, ``references`` are what it calls them, each
    once, and ``fault`` is why it did not get to the end: what it has not answered for is still due.
    """

    month: Month
    told: int
    references: tuple[str, ...]
    fault: str | None


def steps(order: Order, rail: Rail, actor: str) -> Steps[Report]:
    """Yield what is to be done, in order, and take what came of it; returns how the month stands then."""
    after: int | None = 0
    while after is not None:
        after = yield Write(partial(stored.make, month=order.month, minimum_ucr=order.minimum_ucr, after=after))
    yield Write(partial(stored.finish, month=order.month, minimum_ucr=order.minimum_ucr, actor=actor))
    told, references, fault = 0, dict[str, None](), None
    for batch in (yield Write(partial(stored.due, month=order.month))):
        outcomes, fault = yield Ask(partial(rails.carry_out, rail, batch))
        yield Write(partial(stored.record, month=order.month, rail=order.rail, outcomes=outcomes))
        told += len(outcomes)
        references |= dict.fromkeys(one.reference for one in outcomes if one.reference)
        if fault is not None:
            break
    (month,) = yield Write(partial(stored.months, month=order.month))
    return Report(month=month, told=told, references=tuple(references), fault=fault)


def pay(place: GatewaySettings, order: Order, output: Path | None = None) -> Report:
    """Pay a month, beside a running gateway or without one; waits for a run that goes on already.

    Args:
        output: the file that a rail which writes one is to write.

    Raises:
        UsageError: the month is none or has not ended, or there is no such rail.
        EdgeAgentError: the directory, the database or the rail cannot be used.
    """
    rail = make_rail(place, order.rail, output)
    with alone(place.data_dir, wait=True), writing(place) as begin, refusals():
        running = steps(order, rail, owner())
        came = None
        while True:
            try:
                step = running.send(came)
            except StopIteration as end:
                report: Report = end.value
                return report
            if isinstance(step, Ask):
                came = step.call()
            else:
                with begin() as tx:
                    came = step.work(tx)


def preview(place: GatewaySettings, order: Order) -> dict[str, Decision]:
    """Return what ``pay`` would make of nodes, by their ids, without making it.  Raises as ``pay``."""
    rails.load(order.rail)
    found: dict[str, Decision] = {}
    with reading(place) as tx, refusals():
        after: int | None = 0
        while after is not None:
            looked = stored.look(tx, order.month, order.minimum_ucr, after)
            found |= looked.decided
            after = looked.after
    return found


def make_rail(place: GatewaySettings, name: str, output: Path | None = None) -> Rail:
    """Return the rail of this name.

    Raises:
        UsageError: there is none.
        EdgeAgentError: it cannot be made.
    """
    make = rails.load(name)
    try:
        return make(rails.RailSettings(data_dir=place.data_dir, output=output))
    except EdgeAgentError:
        raise
    except Exception as error:  # a rail is somebody else's code
        raise EdgeAgentError(f"the rail {name!r} cannot be used: {installed.told(error)}") from None


@contextmanager
def alone(data_dir: Path, *, wait: bool) -> Iterator[bool]:
    """Run the block while no other run tells a rail of payments; gives False, without ``wait``, where one does.

    The table would keep two runs from making a payment twice, but not from telling a rail of it at the same time.
    """
    try:
        make_data_dir(data_dir)
        lock = os.open(data_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EdgeAgentError(f"cannot use {data_dir}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


@contextmanager
def refusals() -> Iterator[None]:
    """Say what a person got wrong about a month."""
    try:
        yield
    except (ValueError, MonthNotOverError) as error:
        raise UsageError(str(error)) from None


def counted(decisions: dict[str, Decision]) -> dict[State, tuple[int, int]]:
    """Return how many nodes came to which state, with how many micro-credits."""
    sums: dict[State, tuple[int, int]] = {}
    for one in decisions.values():
        nodes, ucr = sums.get(one.state, (0, 0))
        sums[one.state] = (nodes + 1, ucr + one.amount_ucr)
    return sums

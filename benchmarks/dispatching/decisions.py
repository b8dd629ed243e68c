"""What one dispatch costs, from the queue on disk to the attempt stored: without links, so that growth shows.

A round takes ten jobs wherever it is measured: where nodes are many there are ten jobs, and where jobs are many there
are ten free slots.  What a round costs at all is then the same everywhere, and what differs is the size.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import trio

from benchmarks.dispatching import stage
from benchmarks.harness import BenchmarkError, Run, alternate
from edgeagent import chance
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.dispatcher import Dispatcher
from edgeagent.gateway.network import Network
from edgeagent.gateway.store import Store, accounts, submissions
from edgeagent.gateway.store.submissions import New
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Hello, Message, NodeState

JOB_TYPE = "cpu_benchmark"
EACH = 10
BY_NODES, BY_QUEUE = "one dispatch, 10 jobs waiting", "one dispatch, 10 nodes"


class _Mute:
    """A link that leads nowhere."""

    def send(self, *messages: Message) -> None:
        """Say nothing."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Stay."""


@attrs.define(eq=False)
class _Point:
    """One size of the network and the queue."""

    group: str
    name: str
    store: Store
    network: Network
    dispatcher: Dispatcher
    account_id: str

    async def round_us(self) -> float:
        """Return what one dispatch of a round cost, in microseconds, and put everything back as it was."""
        started = time.perf_counter()
        flights = await self.dispatcher.round()
        took_s = time.perf_counter() - started
        if len(flights) != EACH:
            raise BenchmarkError(f"a round of {len(flights)} jobs instead of {EACH}: {self.name}")
        for flight, _ in flights:
            self.network.land(flight.node_id, flight.attempt_id)
        batch = [New(job_id=chance.new_id(), account_id=self.account_id, job_type=JOB_TYPE) for _ in flights]
        submitted = await self.store.write(submissions.submit, self.account_id, batch, 0.0)
        for job in submitted.waiting:
            self.network.backlog.add(job)
        return took_s / EACH * 1e6


def measure(run: Run, folder: Path, sizes: Sequence[int], rounds: int) -> None:
    """Add a row for each number of nodes with ten jobs, and for each length of the queue with ten nodes."""
    with contextlib.ExitStack() as stack:
        points = []
        for size in sizes:
            points.append(stack.enter_context(_point(folder, BY_NODES, f"{size:,} nodes", size, EACH)))
            points.append(stack.enter_context(_point(folder, BY_QUEUE, f"{size:,} jobs waiting", EACH, size)))
        trio.run(_measure, run, points, rounds)


async def _measure(run: Run, points: Sequence[_Point], rounds: int) -> None:
    for point in points:
        await point.round_us()  # the first one also reads what is there
    for point in alternate(points, rounds):
        run.add(point.group, point.name, await point.round_us(), "us")


@contextlib.contextmanager
def _point(folder: Path, group: str, name: str, node_count: int, waiting: int) -> Iterator[_Point]:
    data = folder / name.replace(" ", "-")
    prepared = stage.prepare(data, node_count=node_count, job_type=JOB_TYPE, waiting=waiting)
    settings = GatewaySettings(data_dir=data)
    network = Network(settings)
    store = Store(settings.database, inline=True, durable=False)
    hello = Hello(version="0", capabilities=(JOB_TYPE,), slots=1, memory_bytes=1 << 30)
    try:
        for member in prepared.members:
            network.registry.add(member.node_id, 0.0, NodeState.HEALTHY)
            network.link(member.node_id, hello, _Mute())
        account_id = trio.run(store.read, accounts.ids)[stage.SUBMITTER]
        yield _Point(group, name, store, network, Dispatcher(store, network), account_id)
    finally:
        store.close()

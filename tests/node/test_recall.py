"""When a node asks what became of held results: after each Welcome, and again where the gateway does not answer."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from edgeagent.errors import EdgeAgentError, RefusedError, UnreachableError
from edgeagent.node.outbox import Outbox
from edgeagent.node.receipts import recall
from edgeagent.wire.messages import JobVerdict


@attrs.define
class Bench:
    """A book with so many held receipts, and a gateway that has decided those of even numbers."""

    held_count: int = 1
    faults: list[EdgeAgentError] = attrs.Factory(list)
    asked: list[tuple[float, int]] = attrs.Factory(list)
    told: list[str] = attrs.Factory(list)
    outbox: Outbox = attrs.Factory(Outbox)

    async def held(self, after: int, most: int) -> list[tuple[int, str]]:
        await trio.lowlevel.checkpoint()
        return [(number, f"try {number}") for number in range(1, self.held_count + 1) if number > after][:most]

    async def ask(self, attempt_ids: Sequence[str]) -> list[JobVerdict]:
        await trio.lowlevel.checkpoint()
        self.asked.append((trio.current_time(), len(attempt_ids)))
        if self.faults:
            raise self.faults.pop(0)
        return [JobVerdict(attempt_id=one) for one in attempt_ids if int(one[4:]) % 2 == 0]

    async def tell(self, verdict: JobVerdict) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append(verdict.attempt_id)

    async def run(self) -> None:
        await recall.run(self.outbox, self.held, self.ask, self.tell)


async def test_every_held_receipt_is_asked_about_in_portions(autojump_clock: MockClock) -> None:
    """However many go on waiting; each verdict is told once."""
    bench = Bench(held_count=250)

    await recall.recall(bench.held, bench.ask, bench.tell)

    assert [100, 100, 50] == [count for _, count in bench.asked]
    assert [f"try {number}" for number in range(2, 251, 2)] == bench.told


async def test_a_node_asks_once_after_each_welcome(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Not without a link, and not again on the same one."""
    bench = Bench()
    nursery.start_soon(bench.run)
    await trio.sleep(1000)
    asked = []
    for _ in range(2):
        asked.append(len(bench.asked))
        bench.outbox.open()
        await trio.sleep(1000)
        asked.append(len(bench.asked))
        bench.outbox.close()
        await wait_all_tasks_blocked()

    assert [0, 1, 1, 2] == asked


async def test_a_node_that_has_nothing_held_does_not_ask(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A gateway that checks nothing is never bothered."""
    bench = Bench(held_count=0)
    nursery.start_soon(bench.run)
    bench.outbox.open()
    await trio.sleep(1000)

    assert [] == bench.asked


async def test_a_gateway_that_does_not_answer_is_asked_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """After a minute, on the same link."""
    bench = Bench(faults=[UnreachableError("busy"), UnreachableError("busy")])
    nursery.start_soon(bench.run)
    bench.outbox.open()
    began = trio.current_time()
    await trio.sleep(1000)

    assert [0, 60, 120] == [at - began for at, _ in bench.asked]


async def test_a_gateway_that_does_not_say_is_left_alone(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """One without such a call refuses it; the next link may lead to another."""
    bench = Bench(faults=[RefusedError("no such page")])
    nursery.start_soon(bench.run)
    bench.outbox.open()
    await trio.sleep(1000)
    assert 1 == len(bench.asked)
    bench.outbox.close()
    bench.outbox.open()
    await trio.sleep(1000)

    assert 2 == len(bench.asked)

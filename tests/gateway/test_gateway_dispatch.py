"""Which node gets a job."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway.dispatch import MAX_NEEDS, Pool
from edgeagent.gateway.needs import Need, Offer, Taken, fits


def pool(**slots: int) -> Pool:
    """Return a pool of idle nodes that can echo, each with so many slots."""
    made = Pool()
    for node, count in slots.items():
        made.join(node, offer(count))
        made.update(node, limit=count, taken=Taken(), reported=0.0)
    return made


def offer(slots: int, *capabilities: str, **more: Any) -> Offer:
    """Return what a node has that can echo, or do what is said instead."""
    return Offer(capabilities=frozenset(capabilities or ("echo",)), slots=slots, **more)


ECHO, RENDER = Need("echo"), Need("render")


def test_the_least_loaded_node_is_taken() -> None:
    """Load is what the node reported."""
    nodes = pool(a=4, b=4, c=4)
    nodes.update("a", limit=4, taken=Taken(0), reported=0.9)
    nodes.update("c", limit=4, taken=Taken(0), reported=0.5)

    assert nodes.take(ECHO) == "b"


def test_load_is_raised_at_dispatch() -> None:
    """Before any heartbeat says so, the next job goes to the other node."""
    nodes = pool(a=2, b=2)

    assert Counter(a=2, b=2) == Counter(nodes.take(ECHO) for _ in range(4))


def test_what_was_given_since_adds_to_what_a_node_reported() -> None:
    """A node with other work counts as that much busier with each job, until its next heartbeat."""
    nodes = pool(a=4, b=4)
    nodes.update("a", limit=4, taken=Taken(0), reported=0.5)
    nodes.update("b", limit=4, taken=Taken(0), reported=0.6)

    assert [nodes.take(ECHO), nodes.take(ECHO)] == ["a", "b"]


def test_a_big_node_gets_more_at_once() -> None:
    """Load is a share of the slots: of six jobs, four go to the node with twice the slots."""
    nodes = pool(small=4, big=8)

    assert Counter(small=2, big=4) == Counter(nodes.take(ECHO) for _ in range(6))


@pytest.mark.parametrize("nodes", [2, 4, 7])
def test_idle_twins_share_the_work(nodes: int) -> None:
    """Jobs that come one at a time, each done before the next, still go round."""
    twins = pool(**{f"n{number}": 1 for number in range(nodes)})
    taken: Counter[str | None] = Counter()
    for _ in range(10 * nodes):
        node = twins.take(ECHO)
        taken[node] += 1
        assert node is not None
        twins.update(node, limit=1, taken=Taken(0))

    assert set(taken.values()) == {10}


def test_a_hundredth_more_load_is_a_tie() -> None:
    """Noise in what nodes report does not decide."""
    nodes = pool(a=1, b=1)
    nodes.update("a", limit=1, taken=Taken(0), reported=0.01)
    first = nodes.take(ECHO)
    assert first is not None
    nodes.update(first, limit=1, taken=Taken(0))

    assert {first, nodes.take(ECHO)} == {"a", "b"}


def test_only_a_node_that_can_do_it_is_taken() -> None:
    """A job type nobody offers finds nobody."""
    nodes = pool(a=1)
    nodes.join("r", offer(1, "render"))
    nodes.update("r", limit=1, taken=Taken(0))

    assert nodes.take(RENDER) == "r"
    assert nodes.take(RENDER) is None
    assert nodes.take(Need("unknown")) is None


def test_a_node_without_a_limit_gets_nothing() -> None:
    """A seat alone is not enough: who may get work is the caller's to say."""
    nodes = pool(a=2)
    nodes.update("a", limit=0, taken=Taken(0))

    assert nodes.take(ECHO) is None


def test_a_retry_goes_elsewhere_first() -> None:
    """The busier node that has not had the job is better than the idle one that failed."""
    nodes = pool(failed=2, other=2)
    nodes.update("other", limit=2, taken=Taken(1))

    assert nodes.take(ECHO, avoid={"failed"}) == "other"
    assert nodes.take(ECHO, avoid={"failed"}) == "failed"
    assert nodes.take(ECHO, avoid={"failed"}) == "failed"
    assert nodes.take(ECHO, avoid={"failed"}) is None


def test_of_nodes_that_all_had_the_job_the_least_loaded_gets_it_again() -> None:
    """Where there is no other one, the load decides as ever."""
    nodes = pool(a=4, b=4, c=4)
    for node, busy in (("a", 2), ("b", 0), ("c", 1)):
        nodes.update(node, limit=4, taken=Taken(busy), reported=busy / 4)

    assert nodes.take(ECHO, avoid={"a", "b", "c"}) == "b"


def test_passing_over_a_node_does_not_lose_it() -> None:
    """What was avoided once is there for the next job."""
    nodes = pool(a=1, b=1)

    assert nodes.take(ECHO, avoid={"a"}) == "b"
    assert nodes.take(ECHO) == "a"


def test_a_node_of_two_types_is_found_for_either() -> None:
    """Its one slot is given once."""
    nodes = pool()
    nodes.join("b", offer(1, "echo", "render"))
    nodes.update("b", limit=1, taken=Taken())
    assert nodes.can(ECHO)
    assert nodes.can(RENDER)

    assert nodes.take(RENDER) == "b"

    assert not nodes.can(ECHO)
    assert not nodes.can(RENDER)


def test_a_node_that_comes_back_is_not_its_old_self() -> None:
    """Entries from before it left are not taken for it."""
    nodes = pool(a=3)
    nodes.leave("a")
    nodes.join("a", offer(1))

    assert nodes.take(ECHO) is None
    nodes.update("a", limit=1, taken=Taken(0))
    assert [nodes.take(ECHO), nodes.take(ECHO)] == ["a", None]


def test_heartbeats_for_ever_take_no_memory() -> None:
    """A load that swings leaves a handful of entries."""
    nodes = pool(a=1)
    assert nodes.can(ECHO)
    for beat in range(10_000):
        nodes.update("a", limit=1, taken=Taken(0), reported=beat % 2)

    assert len(nodes._orders[ECHO].heap) < 100


def test_nodes_that_come_and_go_for_ever_take_no_memory() -> None:
    """Their old entries are cleared away as if they had never been there."""
    nodes = pool(a=1)
    assert nodes.can(ECHO)
    for _ in range(1000):
        nodes.join("a", offer(1))
        nodes.update("a", limit=1, taken=Taken(0))

    assert len(nodes._orders[ECHO].heap) < 100


GIB = 1 << 30


@pytest.mark.parametrize(
    ("need", "who"),
    [
        (Need("echo"), {"plain", "big", "strong"}),
        (Need("echo", tier="B"), {"big", "strong"}),
        (Need("echo", tier="A"), {"strong"}),
        (Need("echo", gpus=2), {"big"}),
        (Need("echo", memory_bytes=16 * GIB), {"big"}),
        (Need("echo", memory_bytes=1), {"big", "strong"}),
        (Need("echo", fetches=("https",)), {"strong"}),
        (Need("echo", tier="A", gpus=1), set()),
        (Need("echo", apart=("farm",)), {"plain", "strong"}),
    ],
)
def test_only_a_node_that_has_what_the_job_requires_is_taken(need: Need, who: set[str]) -> None:
    """Tier, GPUs, memory, references, another operator; what a node does not say it has, it has not."""
    nodes = Pool()
    for node, has in {
        "plain": offer(1),
        "big": offer(1, tier="B", gpus=2, memory_bytes=64 * GIB, operator="farm"),
        "strong": offer(1, tier="A", memory_bytes=8 * GIB, fetches=frozenset({"blob", "https"})),
    }.items():
        nodes.join(node, has)
        nodes.update(node, limit=1, taken=Taken())

    taken = [nodes.take(need) for _ in range(4)]

    assert set(taken) == who | {None}


def test_gpus_and_memory_are_given_once() -> None:
    """A node with slots left has no room for a job whose GPU or memory another one has."""
    nodes = Pool()
    nodes.join("a", offer(4, gpus=1, memory_bytes=8 * GIB))
    nodes.update("a", limit=4, taken=Taken())

    assert nodes.take(Need("echo", gpus=1)) == "a"
    assert not nodes.can(Need("echo", gpus=1))
    assert nodes.take(Need("echo", memory_bytes=5 * GIB)) == "a"
    assert not nodes.can(ECHO)  # the first job has its slot's share of 2 GiB, the second 5: less than 2 are left


def test_a_need_that_nobody_asked_for_lately_is_found_all_the_same() -> None:
    """Orders are kept for some needs; one that was forgotten is made again."""
    nodes = pool(a=4)
    for gpus in range(MAX_NEEDS + 10):
        assert nodes.can(Need("echo", gpus=gpus)) == (gpus == 0)

    assert nodes.take(ECHO) == "a"
    assert len(nodes._orders) == MAX_NEEDS
    assert Need("echo", gpus=MAX_NEEDS + 9) in nodes._orders


NEEDS = (ECHO, Need("echo", gpus=1), Need("echo", gpus=2), Need("echo", memory_bytes=3), Need("echo", tier="A"))
OFFERS = (offer(3), offer(3, gpus=2), offer(2, memory_bytes=8), offer(3, tier="A", gpus=1, memory_bytes=9))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "limit", "done", "beat", "take", "take", "take"]),
        st.sampled_from("abc"),
        st.integers(0, 3),
        st.sampled_from(NEEDS),
    ),
    max_size=80,
)


class Model:
    """A pool, and beside it what each node has and does, spelled out."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.offers: dict[str, Offer] = {}
        self.limit: dict[str, int] = {}
        self.works: dict[str, list[Need]] = {}

    def taken(self, node: str) -> Taken:
        total = Taken()
        for need in self.works[node]:
            total = total.plus(self.offers[node], need)
        return total

    def free(self, need: Need) -> set[str]:
        return {
            node
            for node in self.limit
            if self.offers[node].suits(need) and fits(self.offers[node], self.taken(node), self.limit[node], need)
        }

    def join(self, node: str, number: int) -> None:
        self.offers[node], self.limit[node], self.works[node] = OFFERS[number], 0, []
        self.pool.join(node, self.offers[node])

    def leave(self, node: str) -> None:
        self.limit.pop(node, None)
        self.pool.leave(node)

    def take(self, node: str, need: Need) -> None:
        free = self.free(need)
        found = self.pool.take(need, avoid={node})
        assert found in free if free else found is None
        assert not (found == node and free - {node})
        if found is not None:
            self.works[found].append(need)
            assert self.taken(found).gpus <= self.offers[found].gpus
            assert self.taken(found).memory_bytes <= self.offers[found].memory_bytes

    def update(self, step: str, node: str, number: int) -> None:
        if step == "limit":
            self.limit[node] = number
        elif step == "done":
            self.works[node] = self.works[node][number:]
        reported = number / 3 if step == "beat" else None
        self.pool.update(node, limit=self.limit[node], taken=self.taken(node), reported=reported)


@given(STEPS)
def test_no_node_ever_gets_more_than_it_has(steps: list[tuple[str, str, int, Need]]) -> None:
    """Whoever joins, leaves, reports and finishes in between; and a node that has room is always found."""
    model = Model()
    for step, node, number, need in steps:
        match step:
            case "join":
                model.join(node, number)
            case "leave":
                model.leave(node)
            case "take":
                model.take(node, need)
            case _ if node in model.limit:
                model.update(step, node, number)
        assert [model.pool.can(one) for one in NEEDS] == [bool(model.free(one)) for one in NEEDS]

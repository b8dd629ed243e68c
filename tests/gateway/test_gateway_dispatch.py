"""Which node gets a job."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway.dispatch import Pool


def pool(**slots: int) -> Pool:
    """Return a pool of idle nodes that can echo, each with so many slots."""
    made = Pool()
    for node, count in slots.items():
        made.join(node, ["echo"], count)
        made.update(node, limit=count, busy=0, reported=0.0)
    return made


def test_the_least_loaded_node_is_taken() -> None:
    """Load is what the node reported."""
    nodes = pool(a=4, b=4, c=4)
    nodes.update("a", limit=4, busy=0, reported=0.9)
    nodes.update("c", limit=4, busy=0, reported=0.5)

    assert nodes.take("echo") == "b"


def test_load_is_raised_at_dispatch() -> None:
    """Before any heartbeat says so, the next job goes to the other node."""
    nodes = pool(a=2, b=2)

    assert Counter(a=2, b=2) == Counter(nodes.take("echo") for _ in range(4))


def test_a_big_node_gets_more_at_once() -> None:
    """Load is a share of the slots: of six jobs, four go to the node with twice the slots."""
    nodes = pool(small=4, big=8)

    assert Counter(small=2, big=4) == Counter(nodes.take("echo") for _ in range(6))


@pytest.mark.parametrize("nodes", [2, 4, 7])
def test_idle_twins_share_the_work(nodes: int) -> None:
    """Jobs that come one at a time, each done before the next, still go round."""
    twins = pool(**{f"n{number}": 1 for number in range(nodes)})
    taken: Counter[str | None] = Counter()
    for _ in range(10 * nodes):
        node = twins.take("echo")
        taken[node] += 1
        assert node is not None
        twins.update(node, limit=1, busy=0)

    assert set(taken.values()) == {10}


def test_a_hundredth_more_load_is_a_tie() -> None:
    """Noise in what nodes report does not decide."""
    nodes = pool(a=1, b=1)
    nodes.update("a", limit=1, busy=0, reported=0.01)
    first = nodes.take("echo")
    assert first is not None
    nodes.update(first, limit=1, busy=0)

    assert {first, nodes.take("echo")} == {"a", "b"}


def test_only_a_node_that_can_do_it_is_taken() -> None:
    """A job type nobody offers finds nobody."""
    nodes = pool(a=1)
    nodes.join("r", ["render"], 1)
    nodes.update("r", limit=1, busy=0)

    assert nodes.take("render") == "r"
    assert nodes.take("render") is None
    assert nodes.take("unknown") is None


def test_a_node_without_a_limit_gets_nothing() -> None:
    """A seat alone is not enough: who may get work is the caller's to say."""
    nodes = pool(a=2)
    nodes.update("a", limit=0, busy=0)

    assert nodes.take("echo") is None


def test_a_retry_goes_elsewhere_first() -> None:
    """The busier node that has not had the job is better than the idle one that failed."""
    nodes = pool(failed=2, other=2)
    nodes.update("other", limit=2, busy=1)

    assert nodes.take("echo", avoid={"failed"}) == "other"
    assert nodes.take("echo", avoid={"failed"}) == "failed"
    assert nodes.take("echo", avoid={"failed"}) == "failed"
    assert nodes.take("echo", avoid={"failed"}) is None


def test_passing_over_a_node_does_not_lose_it() -> None:
    """What was avoided once is there for the next job."""
    nodes = pool(a=1, b=1)

    assert nodes.take("echo", avoid={"a"}) == "b"
    assert nodes.take("echo") == "a"


def test_free_slots_count_for_every_type_of_their_node() -> None:
    """Two slots for echo and render are two for either."""
    nodes = pool(a=1)
    nodes.join("b", ["echo", "render"], 2)
    nodes.update("b", limit=2, busy=0)
    assert nodes.free_slots() == {"echo": 3, "render": 2}

    nodes.take("render")
    nodes.leave("a")

    assert nodes.free_slots() == {"echo": 1, "render": 1}


def test_a_node_that_comes_back_is_not_its_old_self() -> None:
    """Entries from before it left are not taken for it."""
    nodes = pool(a=3)
    nodes.leave("a")
    nodes.join("a", ["echo"], 1)

    assert nodes.take("echo") is None
    nodes.update("a", limit=1, busy=0)
    assert [nodes.take("echo"), nodes.take("echo")] == ["a", None]


def test_heartbeats_for_ever_take_no_memory() -> None:
    """A load that swings leaves a handful of entries."""
    nodes = pool(a=1)
    for beat in range(10_000):
        nodes.update("a", limit=1, busy=0, reported=beat % 2)

    assert len(nodes._heaps["echo"]) < 100


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "limit", "done", "beat", "take", "take", "take"]),
        st.sampled_from("abc"),
        st.integers(0, 3),
    ),
    max_size=80,
)


@given(STEPS)
def test_no_node_ever_gets_more_than_its_limit(steps: list[tuple[str, str, int]]) -> None:
    """Whoever joins, leaves, reports and finishes in between; and a free slot is always found."""
    nodes = Pool()
    limit, busy = dict[str, int](), Counter[str]()
    for step, node, number in steps:
        if step == "join":
            nodes.join(node, ["echo"], 3)
            limit[node], busy[node] = 0, 0
        elif step == "leave":
            nodes.leave(node)
            limit.pop(node, None)
        elif step == "take":
            taken = nodes.take("echo", avoid={node})
            free = {one for one in limit if limit[one] > busy[one]}
            assert taken in free if free else taken is None
            assert not (taken == node and free - {node})
            if taken is not None:
                busy[taken] += 1
        elif node in limit:
            limit[node] = number if step == "limit" else limit[node]
            busy[node] = max(0, busy[node] - number) if step == "done" else busy[node]
            nodes.update(node, limit=limit[node], busy=busy[node], reported=number / 3 if step == "beat" else None)
        assert sum(max(0, limit[one] - busy[one]) for one in limit) == nodes.free_slots().get("echo", 0)

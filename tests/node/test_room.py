"""Whether there is room for one more attempt, by the numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.node.room import Holdings, Rules, missing, refusal

GIB = 1 << 30
RULES = Rules(cache_bytes=10 * GIB, spool_bytes=5 * GIB)


@pytest.mark.parametrize(
    ("rules", "total", "floor"),
    [
        (Rules(), 100 * GIB, GIB),
        (Rules(), 10 * GIB, GIB // 2),
        (Rules(floor_bytes=7), GIB, 7),
    ],
)
def test_the_floor_is_the_owners_or_follows_the_disk(rules, total, floor):
    """1 GiB, or a twentieth of a small one."""
    assert floor == rules.floor(total)


@pytest.mark.parametrize(
    ("held", "needs", "why"),
    [
        ({"free": 2 * GIB}, {}, None),
        ({"free": 2 * GIB}, {"outputs_bytes": GIB}, None),
        ({"free": 2 * GIB}, {"outputs_bytes": GIB + 1}, "the disk is nearly full"),
        ({"free": 2 * GIB, "promised": 1}, {"outputs_bytes": GIB}, "the disk is nearly full"),
        ({"free": 2 * GIB, "evictable": GIB}, {"inputs_bytes": GIB, "outputs_bytes": GIB}, None),
        ({"free": GIB // 2}, {}, "the disk is nearly full: 512 MiB are free, of which 0 B belong to running jobs"),
        ({"free": GIB - 1, "evictable": 1}, {}, None),
        ({"free": 90 * GIB}, {"inputs_bytes": 11 * GIB}, "its inputs of 11 GiB do not fit into a cache of 10 GiB"),
        ({"free": 90 * GIB, "busy": 6 * GIB}, {"inputs_bytes": 5 * GIB}, "running jobs use 6.0 GiB of the cache"),
        ({"free": 90 * GIB, "busy": 11 * GIB}, {"outputs_bytes": 1}, None),
        ({"free": 90 * GIB, "unsent": 5 * GIB}, {"outputs_bytes": 1}, "5.0 GiB of results wait for the gateway"),
        ({"free": 90 * GIB, "unsent": 6 * GIB}, {}, "6.0 GiB of results wait for the gateway, where 5.0 GiB may"),
    ],
)
def test_what_is_short_is_said(held, needs, why):
    """Each cap for itself, the job's own size first."""
    said = refusal(RULES, Holdings(total=100 * GIB, **held), **needs)

    assert said is None if why is None else said is not None and said.startswith(why)


sizes = st.integers(0, 1 << 40)


@given(free=sizes, evictable=sizes, promised=sizes, inputs=sizes, outputs=sizes)
def test_whatever_is_taken_the_floor_stays_free(free, evictable, promised, inputs, outputs):
    """Once the cache has given what is missing, and everybody has written what he may."""
    rules = Rules(cache_bytes=1 << 50, spool_bytes=1 << 50)
    held = Holdings(free=free, total=100 * GIB, evictable=evictable, promised=promised)

    if refusal(rules, held, inputs_bytes=inputs, outputs_bytes=outputs) is None:
        given_back = missing(rules, held, inputs + outputs)
        assert given_back <= evictable
        assert free + given_back - promised - inputs - outputs >= rules.floor(held.total)

"""What jobs show of themselves, and that it is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway.feeds import MAX_FEED_BYTES, MAX_LINE, MAX_LINES, TAIL_BYTES, TAIL_LINES, Feeds


def test_what_was_printed_before_anybody_watched_is_there() -> None:
    """The last lines wait for a late reader."""
    feeds = Feeds()
    feeds.printed("job", "a1", ["one", "two"])

    with feeds.watch("job") as feed:
        assert [event.data["lines"] for event in feed.after(0)] == [["one", "two"]]


def test_a_reader_gets_what_came_after_what_it_had() -> None:
    """In the order in which it came, progress only as it is now."""
    feeds = Feeds()
    with feeds.watch("job") as feed:
        feeds.printed("job", "a1", ["one"])
        had = feeds.number
        feeds.progressed("job", "a1", 0.1, "slow")
        feeds.printed("job", "a1", ["two"])
        feeds.progressed("job", "a1", 0.2, "still slow")

        assert [(event.kind, event.data.get("fraction")) for event in feed.after(had)] == [
            ("log", None),
            ("progress", 0.2),
        ]


def test_a_line_has_nothing_that_a_terminal_would_obey() -> None:
    """Escapes become spaces, indentation stays, and a long line is cut."""
    feeds = Feeds()
    feeds.printed("job", "a1", ["  x\x1b[2Jy\r", "z" * 5000, "\n"])

    (event,) = feeds._feeds["job"].lines
    assert event.data["lines"] == ["  x [2Jy", "z" * MAX_LINE]


def test_one_message_brings_no_more_than_its_lines() -> None:
    """A node that sends more at once is cut short."""
    feeds = Feeds()
    feeds.printed("job", "a1", ["x"] * 10_000)

    assert len(feeds._feeds["job"].lines[0].data["lines"]) == MAX_LINES


def test_the_tail_of_an_attempt_is_its_last_lines() -> None:
    """Not another attempt's, not more than are stored."""
    feeds = Feeds()
    for number in range(300):
        feeds.printed("job", "a1", [f"first {number}"])
    feeds.printed("job", "a2", ["second"])

    assert feeds.tail("job", "a2") == ("second",)
    tail = feeds.tail("job", "a1")
    assert tail[-1] == "first 299"
    assert len(tail) <= TAIL_LINES
    assert feeds.tail("other", "a1") == ()


def test_what_nobody_watches_is_forgotten_oldest_first() -> None:
    """All jobs together stay under the bound; the one that was quiet for longest goes, and its reader is told."""
    feeds = Feeds(max_bytes=20_000)
    with feeds.watch("quiet") as quiet:
        feeds.printed("quiet", "a", ["x" * 1000])
        for number in range(100):
            feeds.printed(f"j{number}", "a", ["x" * 1000])

        assert feeds.size_bytes <= 20_000
        assert not quiet.lines
        assert quiet.lost > 0
    assert list(feeds._feeds)[-1] == "j99"
    with feeds.watch("j0") as feed:
        assert feed.lost > 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["print", "print", "progress", "change", "watch", "leave"]),
        st.integers(0, 5),
        st.integers(0, 3000),
    ),
    max_size=100,
)


@given(STEPS)
def test_no_history_takes_more_memory_than_it_may(steps: list[tuple[str, int, int]]) -> None:
    """Sizes are counted right, and hold for one job and for all."""
    feeds = Feeds(max_bytes=3 * MAX_FEED_BYTES)
    open_watches = []
    for step, number, size in steps:
        job = f"j{number}"
        if step == "print":
            feeds.printed(job, "a", ["y" * 900] * (size // 100))
        elif step == "progress":
            feeds.progressed(job, "a", None, "")
        elif step == "change":
            feeds.changed(job)
        elif step == "watch":
            watch = feeds.watch(job)
            watch.__enter__()
            open_watches.append(watch)
        elif open_watches:
            open_watches.pop().__exit__(None, None, None)

        kept = feeds._feeds.values()
        assert feeds.size_bytes == sum(feed.size_bytes for feed in kept)
        assert all(feed.size_bytes == 1024 + sum(event.size_bytes for event in feed.lines) for feed in kept)
        assert feeds.size_bytes <= 3 * MAX_FEED_BYTES + 1024 * len(open_watches)
        assert all(feed.size_bytes <= MAX_FEED_BYTES or len(feed.lines) == 1 for feed in kept)
    assert TAIL_BYTES < MAX_FEED_BYTES

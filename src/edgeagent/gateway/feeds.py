"""What jobs show of themselves while they run: state, progress and printed lines, for whoever watches.

A feed has no queue for each watcher: all read from one bounded ring at their own pace, and one that falls behind
misses lines and is told so.  So neither a job that prints without end nor a reader that does not read takes memory:
the bounds below hold for one job and for all together.  Kept in memory only; ``store.changes.keep_lines`` has the last
lines of an attempt that has ended.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import trio

#: Longest line kept, in characters; what a node's own reporter cuts lines to.
MAX_LINE = 1000
#: Most lines taken from one message (docs/link.md).
MAX_LINES = 100
#: Bytes of lines kept for one job, and for all jobs together; the jobs that nothing was heard of for longest go first.
MAX_FEED_BYTES = 64 << 10
MAX_BYTES = 64 << 20
#: Lines, and bytes of them, that are stored when an attempt has ended.
TAIL_LINES, TAIL_BYTES = 200, 32 << 10
#: What a feed and an event cost beside their text, about.
_FEED_BYTES, _EVENT_BYTES = 1024, 256


@attrs.frozen
class Event:
    """Something that a watcher is told; ``number`` counts over all jobs of this gateway's run."""

    number: int
    kind: str
    data: dict[str, Any]
    size_bytes: int = 0


@attrs.define(eq=False)
class Feed:
    """What is kept of one job."""

    lines: deque[Event] = attrs.Factory(deque)
    size_bytes: int = _FEED_BYTES
    lost: int = 0  # number of the last event that was dropped to make room
    progress: Event | None = None
    state: int = 0  # number of the last change of state
    watchers: int = 0
    news: trio.Event = attrs.Factory(trio.Event)

    def after(self, number: int) -> list[Event]:
        """Return what has happened since the event of that number, in order."""
        since = [event for event in self.lines if event.number > number]
        if self.progress is not None and self.progress.number > number:
            since.append(self.progress)
        return sorted(since, key=lambda event: event.number)


class Feeds:
    """The feeds of all jobs that were heard of, or are watched."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.run = secrets.token_hex(4)  # numbers of another run mean nothing in this one
        self.closed = False
        self._feeds: dict[str, Feed] = {}
        self._printed: OrderedDict[str, Feed] = OrderedDict()  # those with lines, the quietest first
        self._number = 0
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._evicted = 0  # number of the last event of a feed that is not kept any more

    @property
    def number(self) -> int:
        """The number of the last event."""
        return self._number

    @property
    def size_bytes(self) -> int:
        """What all feeds take, about."""
        return self._size_bytes

    def printed(self, job_id: str, attempt_id: str, lines: Iterable[str]) -> None:
        """An attempt of a job printed something."""
        kept = [clean for line in list(lines)[:MAX_LINES] if (clean := _clean(line))]
        if not kept:
            return
        feed = self._feed(job_id)
        event = self._event("log", {"attempt_id": attempt_id, "lines": kept}, sum(len(one.encode()) for one in kept))
        feed.lines.append(event)
        self._printed[job_id] = feed
        self._printed.move_to_end(job_id)
        self._grew(feed, event.size_bytes)
        while feed.size_bytes > MAX_FEED_BYTES and len(feed.lines) > 1:
            self._drop_first(feed)
        self._make_room()
        _tell(feed)

    def progressed(self, job_id: str, attempt_id: str, fraction: float | None, text: str) -> None:
        """An attempt of a job says how far it is; told to those who watch, kept for nobody."""
        feed = self._feeds.get(job_id)
        if feed is not None:
            feed.progress = self._event("progress", {"attempt_id": attempt_id, "fraction": fraction, "text": text}, 0)
            _tell(feed)

    def changed(self, job_id: str) -> None:
        """A job changed its state, as the store has it."""
        feed = self._feeds.get(job_id)
        if feed is not None:
            self._number += 1
            feed.state = self._number
            feed.progress = None
            _tell(feed)

    def tail(self, job_id: str, attempt_id: str) -> tuple[str, ...]:
        """Return the last lines that an attempt printed, those that are worth storing."""
        feed = self._feeds.get(job_id)
        kept: list[str] = []
        size_bytes = 0
        for event in reversed(feed.lines if feed is not None else ()):
            if event.data["attempt_id"] != attempt_id:
                continue
            for line in reversed(event.data["lines"]):
                size_bytes += len(line.encode())
                if len(kept) == TAIL_LINES or size_bytes > TAIL_BYTES:
                    return tuple(reversed(kept))
                kept.append(line)
        return tuple(reversed(kept))

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Feed]:
        """Give a job's feed, which is kept at least as long."""
        feed = self._feed(job_id)
        feed.watchers += 1
        try:
            yield feed
        finally:
            feed.watchers -= 1
            self._forget_idle(job_id, feed)

    def close(self) -> None:
        """The gateway stops: whoever watches is told that there is nothing more to come."""
        self.closed = True
        for feed in self._feeds.values():
            _tell(feed)

    def _feed(self, job_id: str) -> Feed:
        feed = self._feeds.get(job_id)
        if feed is None:
            feed = self._feeds[job_id] = Feed(lost=self._evicted)
            self._size_bytes += feed.size_bytes
        return feed

    def _event(self, kind: str, data: dict[str, Any], size_bytes: int) -> Event:
        self._number += 1
        return Event(self._number, kind, data, size_bytes + _EVENT_BYTES)

    def _grew(self, feed: Feed, size_bytes: int) -> None:
        feed.size_bytes += size_bytes
        self._size_bytes += size_bytes

    def _drop_first(self, feed: Feed) -> None:
        dropped = feed.lines.popleft()
        feed.lost = dropped.number
        self._grew(feed, -dropped.size_bytes)

    def _make_room(self) -> None:
        while self._size_bytes > self._max_bytes and self._printed:
            job_id, feed = self._printed.popitem(last=False)
            while feed.lines:
                self._drop_first(feed)
            self._evicted = max(self._evicted, feed.lost)
            self._forget_idle(job_id, feed)

    def _forget_idle(self, job_id: str, feed: Feed) -> None:
        if not feed.watchers and not feed.lines:
            del self._feeds[job_id]
            self._size_bytes -= feed.size_bytes


def _tell(feed: Feed) -> None:
    feed.news.set()
    feed.news = trio.Event()


def _clean(line: str) -> str:
    """Return a line of a stranger's with nothing in it that a terminal would obey; indentation stays."""
    return "".join(character if character.isprintable() else " " for character in line[:MAX_LINE]).rstrip()

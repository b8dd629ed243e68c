"""REST for watching: a job's state, progress and printed lines as server-sent events, as they happen.

The stream reads from ``feeds`` at the reader's own pace, so a slow reader misses lines and is told; one that takes
nothing at all loses its connection (``gateway.connection``).  ``Last-Event-ID`` goes on where an earlier stream ended,
as far as what came since is still there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import attrs
import msgspec
import orjson
import trio
from litestar import get
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from edgeagent.gateway import feeds
from edgeagent.gateway.api.bodies import Event
from edgeagent.gateway.api.describe import ACCOUNT
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.guards import Account, TheHub, readers_only
from edgeagent.gateway.api.jobs import job_body, no_job
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.jobs import OPEN_JOBS
from edgeagent.gateway.store import views
from edgeagent.gateway.store.views import JobView

#: Seconds without an event after which a comment is sent, so that proxies and clients see that the stream lives.
KEEP_ALIVE_S = 15.0
#: Streams of one account at the same time.
MAX_STREAMS = 64

LastEventId = Annotated[str, HeaderParameter(name="Last-Event-ID", description="Go on after this event.")]

_ID = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})")


@get(
    "/jobs/{job_id:str}/events",
    guards=[readers_only],
    media_type="text/event-stream",
    security=[{ACCOUNT: []}],
    tags=["jobs"],
    responses={
        200: ResponseSpec(
            Event, generate_examples=False, description="Server-sent events", media_type="text/event-stream"
        ),
        **problems(404),
    },
)
async def events(job_id: FromPath[str], account_id: Account, hub: TheHub, last_event_id: LastEventId = "") -> ASGIApp:
    """Stream a job's events: ``job``, ``progress``, ``log``, ``gap``, and ``end`` as the last one."""
    if hub.streams[account_id] >= MAX_STREAMS:
        raise refuse(429, f"at most {MAX_STREAMS} jobs of an account can be watched at once; close some")
    return _Stream(hub, account_id, job_id, last_event_id)


@attrs.frozen
class _Seen:
    """How a feed was before the job was looked at: what comes after that wakes, changes it, and is told after it."""

    news: trio.Event
    state: int  # number of the last change
    mark: int  # number of the last event that is told before the job


@attrs.frozen
class _Stream:
    """The answer: an ASGI application that ends with the job, the reader or the gateway; 404 where there is no job."""

    hub: Hub
    account_id: str
    job_id: str
    last_id: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would keep events back
        ]
        with _counted(self.hub.streams, self.account_id), self.hub.feeds.watch(self.job_id) as feed:
            # A reader that comes is told first what there was before.
            seen = _Seen(feed.news, feed.state, self.hub.feeds.number)
            job = await self._job()
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                await self._write(feed, seen, job, send)
                nursery.cancel_scope.cancel()

    async def _write(self, feed: feeds.Feed, seen: _Seen, job: JobView | None, send: Send) -> None:
        told = self._resumed()
        text = await self._opening(feed, told, job)
        while True:
            ended = job is not None and job.state not in OPEN_JOBS
            text += self._gap(feed, told)
            events, since, told = feed.after(told), told, self.hub.feeds.number
            later = [] if job is None or ended else [event for event in events if event.number > seen.mark]
            text += self._events(events[: len(events) - len(later)])
            if job is not None:
                text += self._text("job", _document(job, self.hub), told if ended else max(since, seen.mark))
                text += self._events(later)
            if job is not None and ended:
                text += self._text("end", {"status": job.state.value}, told)
            last = ended or self.hub.feeds.closed
            if text or last:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": not last})
            if last:
                return
            with trio.move_on_after(KEEP_ALIVE_S) as quiet:
                await seen.news.wait()
            text = ": keep-alive\n\n" if quiet.cancelled_caught else ""
            changed = feed.state != seen.state
            seen = _Seen(feed.news, feed.state, feed.state)  # what came after a change is told after it
            job = await self._job() if changed else None

    async def _opening(self, feed: feeds.Feed, told: int, job: JobView | None) -> str:
        """Return what is said first: that something is missing, or what is stored of a job that has ended."""
        if self.last_id and not told:  # of another run of the gateway, whose memory is gone
            return self._text("gap", {"reason": "some lines are not here any more"}, told)
        if told or feed.lines or job is None or all(one.outcome is None for one in job.attempts):
            return ""
        lines = await self.hub.store.look_up(views.lines, self.account_id, self.job_id)
        return "".join(self._text("log", {"attempt_id": one, "lines": printed}, told) for one, printed in lines)

    def _gap(self, feed: feeds.Feed, told: int) -> str:
        if not 0 < told < feed.lost:
            return ""
        return self._text("gap", {"reason": "lines were dropped before they were read"}, told)

    def _events(self, events: Sequence[feeds.Event]) -> str:
        return "".join(self._text(event.kind, event.data, event.number) for event in events)

    async def _job(self) -> JobView:
        job = await self.hub.store.look_up(views.show, self.account_id, self.job_id)
        if job is None:
            raise no_job(self.job_id)
        return job

    def _resumed(self) -> int:
        """Return the number of the last event that the reader had, 0 if none of this run's."""
        match = _ID.fullmatch(self.last_id)
        return int(match[2]) if match and match[1] == self.hub.feeds.run else 0

    def _text(self, kind: str, data: dict[str, Any], number: int) -> str:
        return f"id: {self.hub.feeds.run}-{number}\nevent: {kind}\ndata: {orjson.dumps(data).decode()}\n\n"


def _document(job: JobView, hub: Hub) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(job_body(job, hub.network))
    return document


@contextmanager
def _counted(streams: Counter[str], account_id: str) -> Iterator[None]:
    streams[account_id] += 1
    try:
        yield
    finally:
        streams[account_id] -= 1
        if not streams[account_id]:
            del streams[account_id]


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()

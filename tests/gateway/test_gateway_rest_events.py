"""Watching a job over HTTP: server-sent events as they happen."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import trio
from scripted import PATIENCE_S, PortGateway, refused, submit
from scripted_node import Node, Operator

from edgeagent.gateway import service
from edgeagent.gateway.api import events as api_events
from edgeagent.gateway.feeds import Feeds
from edgeagent.gateway.hub import Hub
from edgeagent.wire.messages import JobDispatch, JobProgress, Outcome


class Reader:
    """One open stream, event by event."""

    def __init__(self, lines: trio.MemoryReceiveChannel[str]) -> None:
        self.last_id = ""
        self._lines = lines

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Return the kind and the data of the next event; StopAsyncIteration at the end of the stream."""
        fields: dict[str, str] = {}
        while True:
            line = await self.line()
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                self.last_id = fields["id"]
                return fields["event"], json.loads(fields["data"])

    async def line(self) -> str:
        """Return the next line."""
        with trio.fail_after(PATIENCE_S):
            return await self._lines.__anext__()

    async def until(self, kind: str, **wanted: Any) -> list[tuple[str, dict[str, Any]]]:
        """Return the events up to one of this kind with these values."""
        seen = []
        while True:
            got, data = await self.next()
            seen.append((got, data))
            if got == kind and all(data.get(key) == value for key, value in wanted.items()):
                return seen

    async def rest(self) -> list[tuple[str, dict[str, Any]]]:
        """Return everything up to the end of the stream."""
        seen = []
        while True:
            try:
                seen.append(await self.next())
            except StopAsyncIteration:
                return seen


@asynccontextmanager
async def watching(http: httpx2.AsyncClient, job_id: str, last_id: str = "") -> AsyncIterator[Reader]:
    """Open a job's stream."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with http.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        async with trio.open_nursery() as nursery:
            there, lines = trio.open_memory_channel[str](math.inf)
            nursery.start_soon(pump, response, there)
            yield Reader(lines)
            nursery.cancel_scope.cancel()


async def pump(response: httpx2.Response, lines: trio.MemorySendChannel[str]) -> None:
    """Read in a task of its own, which can be cancelled: a client's generators are not closed otherwise."""
    with lines:
        async for line in response.aiter_lines():
            lines.send_nowait(line)


@pytest.fixture(autouse=True)
def hubs(monkeypatch: pytest.MonkeyPatch) -> list[Hub]:
    """The hubs of the gateways that the test runs, to look at what they keep."""
    made: list[Hub] = []

    class Noted(Hub):
        def __init__(self, **parts: Any) -> None:
            super().__init__(**parts)
            made.append(self)

    monkeypatch.setattr(service, "Hub", Noted)
    return made


@pytest.fixture
async def worker(port_gateway: PortGateway) -> Operator:
    """A registered node."""
    return await port_gateway.enlist()


@pytest.fixture
async def job_id(worker: Operator, submitter: httpx2.AsyncClient) -> str:
    """A job that waits for the worker."""
    return (await submit(submitter))["job_id"]


async def say(node: Node, dispatch: JobDispatch, *lines: str, fraction: float | None = None) -> None:
    """Have an attempt print lines."""
    await node.say(JobProgress(attempt_id=dispatch.attempt_id, fraction=fraction, log=lines))


def printed(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return the lines among events."""
    return [line for kind, data in events if kind == "log" for line in data["lines"]]


async def test_a_stream_tells_a_job_from_queue_to_end(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient, job_id: str
) -> None:
    """Its states, progress and lines in order, then the end of the stream."""
    async with watching(submitter, job_id) as reader:
        kind, data = await reader.next()
        assert (kind, data["status"]) == ("job", "QUEUED")
        async with port_gateway.at_work(worker) as node:
            dispatch = await node.accept()
            await reader.until("job", status="RUNNING")
            await say(node, dispatch, "loading", "  rendering", fraction=0.5)
            seen = await reader.until("log")
            assert ("progress", 0.5) in [(kind, data.get("fraction")) for kind, data in seen]
            assert seen[-1][1] == {"attempt_id": dispatch.attempt_id, "lines": ["loading", "  rendering"]}
            await node.finish(dispatch, value={"a": 1})
            *before, last = await reader.rest()

    assert last == ("end", {"status": "COMPLETED"})
    kind, data = before[-1]
    assert (kind, data["status"], data["attempts"][0]["outcome"]) == ("job", "COMPLETED", "completed")


async def test_a_late_reader_sees_the_last_lines(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient, job_id: str
) -> None:
    """While the job runs, and after it has ended."""
    async with port_gateway.at_work(worker) as node:
        dispatch = await node.accept()
        await say(node, dispatch, *(f"line {number}" for number in range(50)))
        await node.beat(dispatch.attempt_id)
        async with watching(submitter, job_id) as reader:
            assert printed(await reader.until("job"))[-1] == "line 49"
        await say(node, dispatch, "last words")
        await node.finish(dispatch, Outcome.EXITED)

    async with watching(submitter, job_id) as reader:
        assert printed(await reader.until("job"))[-1] == "last words"


async def test_a_stream_goes_on_where_it_was_cut(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient, job_id: str
) -> None:
    """With Last-Event-ID no line comes twice, and none is missing."""
    async with port_gateway.at_work(worker) as node:
        dispatch = await node.accept()
        await say(node, dispatch, "one")
        async with watching(submitter, job_id) as reader:
            assert printed(await reader.until("log")) == ["one"]
        await say(node, dispatch, "two")
        await node.beat(dispatch.attempt_id)
        async with watching(submitter, job_id, reader.last_id) as again:
            assert printed(await again.until("log")) == ["two"]
            await node.finish(dispatch)
            assert printed(await again.rest()) == []


async def test_lines_outlive_a_restart_once_their_attempt_has_ended(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient, job_id: str, hubs: list[Hub]
) -> None:
    """What is stored is told by a gateway that remembers nothing, and a reader from before is told of the gap."""
    async with port_gateway.at_work(worker) as node:
        dispatch = await node.accept()
        await say(node, dispatch, "kept")
        await node.finish(dispatch, Outcome.REJECTED, detail="bad scene")
    hubs[0].feeds = Feeds()

    async with watching(submitter, job_id) as reader:
        assert printed(await reader.rest()) == ["kept"]
    async with watching(submitter, job_id, "00000000-7") as reader:
        assert (await reader.next())[0] == "gap"


async def test_a_quiet_stream_stays_alive(
    monkeypatch: pytest.MonkeyPatch, submitter: httpx2.AsyncClient, job_id: str
) -> None:
    """Comments come when nothing else does."""
    monkeypatch.setattr(api_events, "KEEP_ALIVE_S", 0.05)
    async with watching(submitter, job_id) as reader:
        await reader.next()
        while not (await reader.line()).startswith(":"):
            pass


async def test_streams_end_with_the_gateway(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient, job_id: str
) -> None:
    """Properly, without an end event: the job goes on."""
    async with watching(submitter, job_id) as reader:
        await reader.next()
        port_gateway.stop.set()
        assert "end" not in [kind for kind, _ in await reader.rest()]


async def test_a_reader_that_goes_away_leaves_nothing(
    submitter: httpx2.AsyncClient, job_id: str, hubs: list[Hub]
) -> None:
    """Neither a stream that counts, nor a feed."""
    (hub,) = hubs
    async with watching(submitter, job_id) as reader:
        await reader.next()
        assert sum(hub.streams.values()) == 1
    with trio.fail_after(PATIENCE_S):
        while hub.streams or hub.feeds._feeds:  # noqa: ASYNC110 -- nothing tells when the server has noticed
            await trio.sleep(0.01)


async def test_too_many_streams_of_one_account_are_refused(
    monkeypatch: pytest.MonkeyPatch, submitter: httpx2.AsyncClient, job_id: str
) -> None:
    """429, and one that is closed makes room."""
    monkeypatch.setattr(api_events, "MAX_STREAMS", 1)
    async with watching(submitter, job_id) as reader:
        await reader.next()
        refused(await submitter.get(f"/jobs/{job_id}/events"), 429, "at once")


async def test_another_accounts_job_cannot_be_watched(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient, job_id: str
) -> None:
    """It is not there."""
    async with port_gateway.http(await port_gateway.account("another")) as other:
        refused(await other.get(f"/jobs/{job_id}/events"), 404)


async def test_a_reader_that_takes_nothing_costs_no_memory(
    port_gateway: PortGateway, worker: Operator, submitter: httpx2.AsyncClient, job_id: str, hubs: list[Hub]
) -> None:
    """A job that prints megabytes keeps its bounded ring, and the slow reader is told of the gap once it reads."""
    host, port = port_gateway.url.removeprefix("http://").split(":")
    request = f"GET /api/v1/jobs/{job_id}/events HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
    stream = await trio.open_tcp_stream(host, int(port))
    async with port_gateway.at_work(worker) as node, stream:
        await stream.send_all(f"{request}Authorization: {submitter.headers['authorization']}\r\n\r\n".encode())
        dispatch = await node.accept()
        for _ in range(200):
            await say(node, dispatch, *["x" * 999] * 100)  # 20 MB: more than sockets hold
        await node.beat(dispatch.attempt_id)
        assert hubs[0].feeds.size_bytes < 200_000
        await node.finish(dispatch)
        with trio.fail_after(PATIENCE_S):
            answer = b""
            while b"event: end\n" not in answer:
                answer += await stream.receive_some()

    assert b"event: gap\n" in answer
    assert len(answer) < 20_000_000

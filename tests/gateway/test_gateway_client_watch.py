"""``edgeagent job watch``: a job as it goes, over the gateway's events, whatever becomes of its connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from click.testing import CliRunner, Result
from scripted import PATIENCE_S, PortGateway, submit
from scripted_node import Node

from edgeagent import client, events
from edgeagent.cli import main
from edgeagent.gateway import connection
from edgeagent.wire.messages import JobDispatch, JobProgress, Outcome


class Watch:
    """The command, while it runs in a thread of its own."""

    result: Result

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.streams: list[str] = []  # the Last-Event-ID that each was asked for with

    async def until(self, line: str) -> None:
        """Wait until a line of the job has been heard."""
        with trio.fail_after(PATIENCE_S):
            while line not in self.heard:  # noqa: ASYNC110
                await trio.sleep(0.01)


@asynccontextmanager
async def watching(
    gateway: PortGateway, monkeypatch: pytest.MonkeyPatch, token: str, job_id: str
) -> AsyncIterator[Watch]:
    """Run the command; it has ended when the block has."""
    watch = Watch()
    take, headers = events.Follower._event, events.Follower.headers

    def event(self: events.Follower, kind: str, data: events.Json) -> None:
        take(self, kind, data)
        watch.heard += data.get("lines", []) if kind == "log" else [kind]

    def asked(self: events.Follower) -> dict[str, str]:
        found: dict[str, str] = headers.__get__(self)
        watch.streams.append(found.get("Last-Event-ID", ""))
        return found

    monkeypatch.setattr(events.Follower, "_event", event)
    monkeypatch.setattr(events.Follower, "headers", property(asked))
    monkeypatch.setattr(client, "RECONNECT_S", (0.05,) * 100)

    async def run() -> None:
        command = ["job", "--gateway-url", gateway.url, "watch", job_id]
        invoke = partial(CliRunner().invoke, main, command, env={"EDGEAGENT_TOKEN": token})
        watch.result = await trio.to_thread.run_sync(invoke, abandon_on_cancel=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield watch


async def say(node: Node, dispatch: JobDispatch, line: str, fraction: float) -> None:
    """Have the job print a line."""
    await node.say(JobProgress(attempt_id=dispatch.attempt_id, log=(line,), fraction=fraction))


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.COMPLETED, 0), (Outcome.REJECTED, 1)])
async def test_it_shows_a_job_as_it_goes_and_ends_with_it(
    port_gateway: PortGateway, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, code: int
) -> None:
    """States, progress and lines while the job runs, on stderr; exit 1 where it did not complete."""
    operator, token = await port_gateway.enlist(), await port_gateway.account()
    async with port_gateway.http(token) as http:
        job_id = (await submit(http))["job_id"]
    async with watching(port_gateway, monkeypatch, token, job_id) as watch:
        await watch.until("job")
        async with port_gateway.at_work(operator) as node:
            dispatch = await node.accept()
            await say(node, dispatch, "loading the scene", 0.5)
            await watch.until("loading the scene")
            await node.finish(dispatch, outcome, detail="no such scene" if code else "")
    shown = watch.result.stderr
    assert watch.result.exit_code == code, shown
    wanted = ["QUEUED", "RUNNING", "loading the scene", "50%", "no such scene" if code else "COMPLETED"]
    places = [shown.find(word) for word in wanted]
    assert -1 not in places, shown
    assert places[:3] == sorted(places[:3]), shown
    assert watch.streams == [""]  # one stream, from the start: nothing was asked for again and again


async def test_it_goes_on_where_its_stream_was_cut(port_gateway: PortGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks with the last event's id; each line is shown once, those from between too."""
    operator, token = await port_gateway.enlist(), await port_gateway.account()
    async with port_gateway.http(token) as http:
        job_id = (await submit(http))["job_id"]
    cut: list[connection.Connection] = []
    opened = connection.Connection.__init__

    def remember(self: connection.Connection, *args: object, **kwargs: object) -> None:
        opened(self, *args, **kwargs)  # type: ignore[arg-type]
        cut.append(self)

    async with port_gateway.at_work(operator) as node:
        monkeypatch.setattr(connection.Connection, "__init__", remember)
        async with watching(port_gateway, monkeypatch, token, job_id) as watch:
            dispatch = await node.accept()
            await say(node, dispatch, "before", 0.1)
            await watch.until("before")
            for one in cut:
                one.cut()
            await say(node, dispatch, "meanwhile", 0.2)
            await watch.until("meanwhile")
            await say(node, dispatch, "after", 0.3)
            await watch.until("after")
            await node.finish(dispatch)
    assert watch.result.exit_code == 0, watch.result.stderr
    assert [watch.result.stderr.count(line) for line in ("before", "meanwhile", "after")] == [1, 1, 1]
    assert [bool(asked) for asked in watch.streams] == [False] + [True] * (len(watch.streams) - 1)
    assert len(watch.streams) > 1

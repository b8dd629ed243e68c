"""The control socket of a running node: what its owner sees and orders, over a real socket."""

from __future__ import annotations

import functools
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from edgeagent.cli import main
from edgeagent.errors import EdgeAgentError, UnreachableError
from edgeagent.node import control
from edgeagent.node.control import Json
from edgeagent.node.controller import Controller
from edgeagent.node.socketpath import MAX_PATH_BYTES, SOCKET


async def _echo(request: Json) -> Json:
    return {"said": request.get("say")}


async def _refuse(request: Json) -> Json:
    raise EdgeAgentError("not today")


@pytest.fixture
async def home(tmp_path: Path, nursery: trio.Nursery) -> Path:
    """A home in which somebody listens."""
    listener = control.listen(tmp_path)
    assert listener is not None
    nursery.start_soon(control.run, listener, {"echo": _echo, "refuse": _refuse})
    return tmp_path


async def _ask(home: Path, *lines: bytes) -> list[Any]:
    """Send raw lines, and return the answers."""
    stream = await trio.open_unix_socket(str(home / SOCKET))
    async with stream:
        await stream.send_all(b"".join(line + b"\n" for line in lines))
        data = b""
        while data.count(b"\n") < len(lines):
            data += await stream.receive_some(1 << 16)
    return [json.loads(line) for line in data.splitlines()]


async def _in_thread(call: Any) -> Any:
    with trio.fail_after(20):
        return await trio.to_thread.run_sync(call)


async def test_requests_are_answered_one_after_the_other(home: Path) -> None:
    """Over one connection; details are the request's own keys."""

    def talk() -> list[Json]:
        with Controller(home) as node:
            return [node.ask("echo", say="one"), node.ask("echo")]

    first, second = await _in_thread(talk)

    assert ("one", None) == (first["said"], second["said"])


async def test_what_the_node_refuses_is_said_in_its_words(home: Path) -> None:
    """As a fault that a command prints."""

    def talk() -> None:
        with Controller(home) as node:
            node.ask("refuse")

    with pytest.raises(EdgeAgentError, match="not today"):
        await _in_thread(talk)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "one JSON object on a line"),
        (b"{", "one JSON object on a line"),
        (b"[]", 'with "v": 1'),
        (b'{"do": "echo"}', "differ in their version"),
        (b'{"v": 2, "do": "echo"}', "differ in their version"),
        (b'{"v": 1, "do": "fly"}', "knows no 'fly'; it knows echo, refuse"),
        (b'{"v": 1}', "knows no None"),
    ],
)
async def test_what_is_no_request_is_answered_with_what_would_be(home: Path, line: bytes, says: str) -> None:
    """And the connection goes on."""
    refused, answered = await _ask(home, line, b'{"v": 1, "do": "echo", "say": 1}')

    assert (False, True) == (refused["ok"], answered["ok"])
    assert says in refused["error"]


async def test_a_flood_without_an_end_is_cut_off(home: Path) -> None:
    """Nobody fills the node's memory."""
    stream = await trio.open_unix_socket(str(home / SOCKET))
    async with stream:
        with trio.fail_after(20), pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x" * 1000 * control.MAX_REQUEST_BYTES)


async def test_only_its_owner_can_reach_it(home: Path) -> None:
    """Mode 0600, in a directory that is his alone."""
    assert 0o600 == (home / SOCKET).stat().st_mode & 0o777


async def test_a_dead_nodes_socket_is_in_nobodys_way(tmp_path: Path, nursery: trio.Nursery) -> None:
    """As after kill -9."""
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(tmp_path / SOCKET))

    with pytest.raises(UnreachableError, match="no node runs from"):
        Controller(tmp_path).__enter__()
    listener = control.listen(tmp_path)
    assert listener is not None
    nursery.start_soon(control.run, listener, {"echo": _echo})
    assert [True] == [one["ok"] for one in await _ask(tmp_path, b'{"v": 1, "do": "echo"}')]


async def test_a_home_far_down_can_be_reached(tmp_path: Path, nursery: trio.Nursery) -> None:
    """The kernel takes no path of a socket that is so long."""
    home = tmp_path / ("d" * 100) / ("e" * 100)
    home.mkdir(parents=True)
    assert len(os.fsencode(home)) > MAX_PATH_BYTES
    listener = control.listen(home)
    assert listener is not None
    nursery.start_soon(control.run, listener, {"echo": _echo})

    def talk() -> Json:
        with Controller(home) as node:
            return node.ask("echo", say="far")

    assert "far" == (await _in_thread(talk))["said"]


def test_a_home_that_takes_no_socket_costs_only_the_commands(tmp_path: Path) -> None:
    """The node runs on."""
    assert control.listen(tmp_path / "gone") is None


@pytest.mark.parametrize("command", [("drain",), ("pause",), ("resume",)])
def test_without_a_node_the_commands_say_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Exit code 4."""
    done: Result = CliRunner().invoke(main, command, env={"EDGEAGENT_HOME": str(tmp_path)})

    assert 4 == done.exit_code
    assert f"no node runs from {tmp_path}; start one with: edgeagent run" in done.stderr


async def test_waiting_ends_with_the_node(tmp_path: Path) -> None:
    """``edgeagent drain --wait``."""
    listener = control.listen(tmp_path)
    assert listener is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.run, listener, {"echo": _echo})
        controller = Controller(tmp_path)
        await _in_thread(controller.__enter__)
        await _in_thread(functools.partial(controller.ask, "echo"))
        async with trio.open_nursery() as waiting:
            waiting.start_soon(_in_thread, controller.wait)
            nursery.cancel_scope.cancel()
    controller.__exit__(None, None, None)

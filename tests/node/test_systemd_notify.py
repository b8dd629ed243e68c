"""What a node tells systemd, over real sockets."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from edgeagent.errors import UsageError
from edgeagent.node.rings import Parts
from edgeagent.node.stopping import Stop
from edgeagent.node.systemd import liveness
from edgeagent.node.systemd.liveness import AFTERWARDS_S, State, interval_s, lines
from edgeagent.node.systemd.notify import SILENT, Notifier, watchdog_s


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """What NOTIFY_SOCKET holds, and the socket behind it."""
    named = str(tmp_path / "notify") if request.param == "path" else f"@edgeagent-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(named.replace("@", "\0", 1) if request.param == "abstract" else named)
        sock.setblocking(False)
        yield named, sock


def heard(sock: socket.socket) -> list[list[str]]:
    """Return the datagrams that have come, as lines."""
    found = []
    while True:
        try:
            found.append(sock.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return found


def parts(stop: Stop) -> Parts:
    """Return what the task looks at."""
    look: Any = SimpleNamespace(
        session=SimpleNamespace(connected=True),
        attempts=SimpleNamespace(running=("a",)),
        agent=SimpleNamespace(slots=4),
        stop=stop,
    )
    return cast(Parts, look)


def test_systemd_hears_what_is_sent(systemd: tuple[str, socket.socket]) -> None:
    """In one datagram, to a path and to an abstract name."""
    named, sock = systemd

    Notifier.of({"NOTIFY_SOCKET": named}).send("READY=1", "STATUS=up")

    assert [["READY=1", "STATUS=up"]] == heard(sock)


def test_without_systemd_nothing_is_sent() -> None:
    """The variable is not there."""
    assert SILENT == Notifier.of({"WATCHDOG_USEC": "1000000"})


def test_a_socket_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    """systemd may be executing itself anew."""
    Notifier(str(tmp_path / "gone")).send("WATCHDOG=1")


@pytest.mark.parametrize("named", ["vsock:2:1234", "relative", "@", "/"])
def test_other_sockets_are_refused(named: str) -> None:
    """With one line that names the variable."""
    with pytest.raises(UsageError, match="NOTIFY_SOCKET"):
        Notifier.of({"NOTIFY_SOCKET": named})


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
    ],
)
def test_the_watchdog_is_for_the_process_it_names(environ: dict[str, str], seconds: float | None) -> None:
    """As sd_watchdog_enabled(3) has it."""
    assert seconds == watchdog_s(environ, 7)


@pytest.mark.parametrize("text", ["soon", "0", "-1"])
def test_a_watchdog_without_a_time_is_refused(text: str) -> None:
    """Rather than fed at a guess."""
    with pytest.raises(UsageError, match="WATCHDOG_USEC"):
        watchdog_s({"WATCHDOG_USEC": text}, os.getpid())


@pytest.mark.parametrize(("watchdog", "every"), [(None, 10.0), (120.0, 10.0), (4.0, 2.0)])
def test_systemd_hears_twice_in_each_of_its_intervals(watchdog: float | None, every: float) -> None:
    """Or every ten seconds, for its status."""
    assert every == interval_s(watchdog)


def test_a_drain_stretches_systemd_s_patience() -> None:
    """By what the jobs still get, and what comes after them."""
    told = lines(State(linked=True, running=1, slots=4, left_s=3600.0))

    assert {"WATCHDOG=1", "STOPPING=1", f"EXTEND_TIMEOUT_USEC={(3600 + AFTERWARDS_S) * 1e6:.0f}"} < set(told)


def test_a_reload_is_no_stop() -> None:
    """systemd would wait for the end with TimeoutStopSec."""
    told = lines(State(linked=True, running=1, slots=4, left_s=60.0, restart=True))

    assert "STOPPING=1" not in told
    assert "STATUS=Restarting with new options: 1 jobs run, for 60 s more at most." in told


async def test_the_watchdog_is_fed_while_the_loop_turns(
    autojump_clock: trio.testing.MockClock, systemd: tuple[str, socket.socket], nursery: trio.Nursery
) -> None:
    """READY at once, then every half of its interval; STOPPING without waiting for the next turn; nothing once dead."""
    named, sock = systemd
    stop = Stop()
    ring = trio.CancelScope()
    nursery.start_soon(_in, ring, Notifier.of({"NOTIFY_SOCKET": named, "WATCHDOG_USEC": "4000000"}), parts(stop))
    await trio.sleep(7)
    up = heard(sock)
    stop.request(60)
    await trio.sleep(0.1)
    stopping = heard(sock)
    ring.cancel()
    await trio.sleep(60)

    assert "READY=1" in up[0]
    assert 4 == len(up)
    assert all("WATCHDOG=1" in each for each in up)
    assert [True] == ["STOPPING=1" in each for each in stopping]
    assert [] == heard(sock)


async def _in(ring: trio.CancelScope, notifier: Notifier, of: Parts) -> None:
    with ring:
        await liveness.run(notifier, of)

"""A gateway and a node of this machine, started and stopped as their own processes.

The commands are the operator's own (``edgeagent gateway run``, ``edgeagent run``), so what works here works by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from edgeagent.errors import EdgeAgentError, UnreachableError
from edgeagent.gateway.accounts import create_token
from edgeagent.node import config, enrol
from edgeagent.rest import Rest
from edgeagent.wire.urls import GatewayUrl

#: Seconds that the gateway and the node each have to come up; both take about one here.
START_S = 30.0
#: Seconds that each has to stop by itself before it is killed.
STOP_S = 10.0
#: Lines of a program's log that are worth showing when it has failed.
_LOG_TAIL = 5


@attrs.frozen(kw_only=True)
class Network:
    """Where everything is, once it runs."""

    gateway: GatewayUrl
    token: str  # a submitter's
    node: enrol.Registered


@asynccontextmanager
async def running(directory: Path, *, grant_ucr: int, capabilities: tuple[str, ...]) -> AsyncIterator[Network]:
    """Run a gateway and a healthy node in ``directory`` for as long as the context is open.

    Raises:
        EdgeAgentError: one of them did not come up, or ended meanwhile; the text has the end of its log.
    """
    data, home = directory / "gateway", directory / "node"
    async with trio.open_nursery() as nursery:
        log = directory / "gateway.log"
        address: str = await nursery.start(
            _supervise, ["gateway", "run", "--data", str(data), "--port", "0"], {}, log, _first_line
        )
        gateway = GatewayUrl.parse(address)
        token = await trio.to_thread.run_sync(create_token, data, "demo", grant_ucr)
        node = await enrol.register(home, gateway, "demo-node", capabilities, force=False)
        environ = {config.HOME_VARIABLE: str(home), "HEALTH_PORT": "0"}
        await nursery.start(_supervise, ["run"], environ, directory / "node.log", None)
        await _healthy(gateway, node.token, directory / "node.log")
        yield Network(gateway=gateway, token=token, node=node)
        nursery.cancel_scope.cancel(reason="the demo is done")


def _first_line(line: str) -> str:
    return line.strip()


async def _supervise(
    command: list[str],
    environ: dict[str, str],
    log: Path,
    ready: Callable[[str], str] | None,
    *,
    task_status: trio.TaskStatus[str | None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one of our own commands until cancelled; its first line on stdout, where waited for, says it is ready."""
    with log.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "edgeagent", *command],
            env={**_clean_environ(), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    assert process.stdout is not None
    try:
        line = ""
        if ready is not None:
            line = await _read_line(process.stdout)
            if line:
                task_status.started(ready(line))
        else:
            task_status.started(None)
        await process.wait()
        raise EdgeAgentError(f"`edgeagent {' '.join(command)}` ended with {process.returncode}:\n{_tail(log)}")
    finally:
        with trio.CancelScope(shield=True):
            await _stop(process)
            await process.stdout.aclose()


def _clean_environ() -> dict[str, str]:
    """The environment without what would point our own programs at another node or gateway."""
    ours = ("GATEWAY_URL", "NODE_JWT", "NODE_ID", "HEALTH_PORT", "EDGEAGENT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


async def _read_line(stream: trio.abc.ReceiveStream) -> str:
    received = b""
    with trio.move_on_after(START_S):
        while b"\n" not in received and (chunk := await stream.receive_some()):
            received += chunk
    return received.partition(b"\n")[0].decode() if b"\n" in received else ""


async def _stop(process: trio.Process) -> None:
    if process.returncode is None:
        process.terminate()
    with trio.move_on_after(STOP_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _healthy(gateway: GatewayUrl, token: str, log: Path) -> None:
    with trio.move_on_after(START_S):
        async with Rest(gateway, token) as rest:
            while True:
                if (await rest.call("GET", "/nodes/me"))["status"] == "HEALTHY":
                    return
                await trio.sleep(0.05)
    raise UnreachableError(f"the node did not become healthy in {START_S:.0f} s:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL:])

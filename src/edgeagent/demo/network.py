"""A gateway and a node of this machine, started and stopped as their own processes.

The commands are the operator's own (``edgeagent gateway run``, ``edgeagent run``), so what works here works by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import attrs
import trio

from edgeagent.errors import EdgeAgentError, UnreachableError
from edgeagent.gateway.accounts import create_token
from edgeagent.node import enrol
from edgeagent.rest import Rest
from edgeagent.wire.urls import GatewayUrl

#: Seconds that the gateway and the node each have to come up; both take about one, but on a machine that is busy.
START_S = 120.0
#: Seconds that each has to stop by itself before it is killed.
STOP_S = 10.0
#: Lines of a program's log that are worth showing when it has failed.
_LOG_TAIL = 5
#: What would point our own programs at another node or gateway.
_OURS = ("GATEWAY_URL", "NODE_JWT", "NODE_ID", "HEALTH_PORT", "LOG_LEVEL", "EDGEAGENT_")


@attrs.frozen(kw_only=True)
class Network:
    """Where everything is, once it runs."""

    gateway: GatewayUrl
    token: str  # a submitter's
    node: enrol.Registered


@attrs.frozen
class Program:
    """One of our own commands, running."""

    command: tuple[str, ...]
    process: trio.Process
    log: Path

    async def first_line(self) -> str:
        """Return the first line it prints on stdout.

        Raises:
            EdgeAgentError: it ended without one, or stayed silent for ``START_S``; the text has the end of its log.
        """
        assert self.process.stdout is not None
        received = b""
        with trio.move_on_after(START_S):
            while b"\n" not in received:
                chunk = await self.process.stdout.receive_some()
                if not chunk:
                    await self.watch()
                received += chunk
            return received.partition(b"\n")[0].decode().strip()
        raise EdgeAgentError(f"{self._name} said nothing in {START_S:.0f} s:\n{self.tail()}")

    @property
    def _name(self) -> str:
        return f"`edgeagent {' '.join(self.command)}`"

    async def watch(self) -> NoReturn:
        """Raise EdgeAgentError, with the end of its log, as soon as it has ended."""
        code = await self.process.wait()
        raise EdgeAgentError(f"{self._name} ended with {code}:\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of what it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL:])


@asynccontextmanager
async def program(*command: str, log: Path, environ: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    """Run ``edgeagent COMMAND`` for as long as the context is open, its stderr appended to ``log``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    with log.open("ab") as stderr:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "edgeagent", *command],
            env={**inherited, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        yield Program(command, process, log)
    finally:
        with trio.CancelScope(shield=True):
            await _stop(process)


@asynccontextmanager
async def running(
    directory: Path, *, grant_ucr: int, capabilities: tuple[str, ...], gateway_options: tuple[str, ...] = ()
) -> AsyncIterator[Network]:
    """Run a gateway and a healthy node in ``directory`` for as long as the context is open.

    Args:
        directory: for the gateway's data, the node's home and both logs.
        grant_ucr: micro-credits that the submitter starts with.
        capabilities: job types that the node offers.
        gateway_options: more options of ``edgeagent gateway run``.

    Raises:
        EdgeAgentError: one of them did not come up, or ended meanwhile; the text has the end of its log.
    """
    data, home = directory / "gateway", directory / "node"
    serve = ("gateway", "run", "--data", str(data), "--port", "0", *gateway_options)
    async with program(*serve, log=directory / "gateway.log") as gateway_program, trio.open_nursery() as nursery:
        gateway = GatewayUrl.parse(await gateway_program.first_line())
        nursery.start_soon(gateway_program.watch)
        token = await trio.to_thread.run_sync(create_token, data, "demo", grant_ucr)
        node = await enrol.register(home, gateway, "demo-node", capabilities, force=False)
        environ = {"EDGEAGENT_HOME": str(home), "HEALTH_PORT": "0"}
        async with program("run", log=directory / "node.log", environ=environ) as node_program:
            nursery.start_soon(node_program.watch)
            await healthy(gateway, node.token, node_program)
            yield Network(gateway=gateway, token=token, node=node)
            nursery.cancel_scope.cancel(reason="no longer needed")


async def healthy(gateway: GatewayUrl, node_token: str, node: Program) -> None:
    """Wait until the gateway sees the node as HEALTHY.

    Raises:
        UnreachableError: it does not within ``START_S``.
    """
    with trio.move_on_after(START_S):
        async with Rest(gateway, node_token) as rest:
            while True:
                if (await rest.call("GET", "/nodes/me"))["status"] == "HEALTHY":
                    return
                await trio.sleep(0.05)
    raise UnreachableError(f"the node did not become healthy in {START_S:.0f} s:\n{node.tail()}")


async def _stop(process: trio.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(STOP_S):
            await process.wait()
    if process.returncode is None:
        process.kill()
    await process.wait()
    assert process.stdout is not None
    await process.stdout.aclose()

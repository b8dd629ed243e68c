"""The programs under test, each a process group of its own, so that ``kill -9`` takes all of it and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import trio

from edgeagent.errors import EdgeAgentError

#: Real seconds that a program may take to come up or to stop; one or two, on a machine that has nothing else to do.
PATIENCE_S = 600.0
_OURS = ("GATEWAY_URL", "NODE_JWT", "NODE_ID", "HEALTH_PORT", "LOG_LEVEL", "EDGEAGENT_")
_LOG_TAIL = 8


class Program:
    """One of our own commands, which can be started, killed and started again; its log goes on through all that."""

    def __init__(self, name: str, log: Path) -> None:
        self.name, self.log = name, log
        self._process: trio.Process | None = None
        #: Every process that this program has been.
        self.pids: list[int] = []

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self, *command: str, environ: Mapping[str, str]) -> None:
        """Start it; returns as soon as it is a process."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        with self.log.open("ab") as stderr:
            self._process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "edgeagent", *command],
                env={**inherited, **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        self.pids.append(self._process.pid)

    async def first_line(self) -> str:
        """Return the first line it prints; empty when it ends before that."""
        assert self._process is not None
        assert self._process.stdout is not None
        received = b""
        with trio.fail_after(PATIENCE_S):
            while b"\n" not in received and (chunk := await self._process.stdout.receive_some()):
                received += chunk
        line, newline, _ = received.partition(b"\n")
        return line.decode().strip() if newline else ""

    async def kill(self) -> None:
        """``kill -9`` its process group; nothing of it gets to say goodbye."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        await self._gone()

    async def stop(self) -> int:
        """Ask it to stop, as an operator does, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        with trio.move_on_after(PATIENCE_S):
            await self._process.wait()
        if self._process.poll() is None:
            await self.kill()
        return await self._gone()

    async def end(self) -> None:
        """See that it is gone, whatever has happened to it."""
        if self.pid is not None:
            with trio.CancelScope(shield=True):
                await self.kill()

    def check(self) -> None:
        """Raise EdgeAgentError, with the end of its log, if it is not running."""
        if self.pid is None:
            raise EdgeAgentError(f"{self.name} has ended by itself:\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of what it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL:])

    async def _gone(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        code = await self._process.wait()
        await self._process.stdout.aclose()
        return code

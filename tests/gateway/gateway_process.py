"""A gateway that is a process of its own, and so can be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from scripted import PortGateway


@asynccontextmanager
async def process(data_dir: Path) -> AsyncIterator[tuple[PortGateway, subprocess.Popen[str]]]:
    """Run ``edgeagent gateway run`` as its own process."""
    command = [sys.executable, "-m", "edgeagent", "gateway", "run", "--data", str(data_dir), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        try:
            url = (await trio.to_thread.run_sync(running.stdout.readline)).strip()
            yield PortGateway(data_dir, url), running
        finally:
            running.kill()

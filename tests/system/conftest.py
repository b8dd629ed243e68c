"""A whole network for each test: gateway and node as processes of their own, in a directory of the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from plugin_files import QUICK, plugin

from edgeagent.client import Client
from edgeagent.demo.network import Network, running
from edgeagent.wire.units import UCR_PER_CREDIT


@attrs.frozen
class Session:
    """A running network and a submitter's client."""

    network: Network
    client: Client


@pytest.fixture
def network(tmp_path: Path) -> Callable[..., object]:
    """Start a network whose node has the given plugins: job type to the body of its ``execute``."""

    @asynccontextmanager
    async def start(capabilities: tuple[str, ...] = (), **bodies: str) -> AsyncIterator[Session]:
        plugins = tmp_path / "node" / "plugins"
        plugins.mkdir(parents=True)
        for job_type, body in bodies.items():
            (plugins / f"{job_type}.py").write_text(plugin(job_type, body))
        offered = (*capabilities, *bodies)
        async with (
            running(tmp_path, grant_ucr=1000 * UCR_PER_CREDIT, capabilities=offered, gateway_options=QUICK) as up,
            Client(up.gateway, up.token) as client,
        ):
            yield Session(up, client)

    return start

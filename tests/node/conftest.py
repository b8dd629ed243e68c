"""A whole node and the scripted gateway that it talks to (``service_node``, ``loopback_gateway``)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from loopback_gateway import Gateway, serve
from service_node import NODE_ID, Node

from edgeagent.node.config import Identity


@pytest.fixture
async def gateway(nursery: trio.Nursery) -> Gateway:
    """A gateway that does what the test says."""
    return await serve(nursery)


@pytest.fixture
def config(gateway: Gateway, tmp_path: Path) -> Identity:
    """A node of that gateway."""
    home, token = tmp_path / "home", "the-token"
    return Identity(home=home, gateway=gateway.url, node_id=NODE_ID, token=token, given_token=token)


@pytest.fixture
async def node(config: Identity, nursery: trio.Nursery) -> Node:
    """A running node."""
    node = Node(config)
    node.health_url = await nursery.start(node.run)
    return node

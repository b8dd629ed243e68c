"""A gateway for each test: in memory on a virtual clock, or on a port with everything real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from scripted import MemoryGateway, PortGateway, in_memory, on_a_port


@pytest.fixture
async def memory_gateway(tmp_path: Path) -> AsyncIterator[MemoryGateway]:
    """A gateway without port or threads; the test must ask for ``autojump_clock`` itself, or time is real."""
    async with in_memory(tmp_path) as gateway:
        yield gateway


@pytest.fixture
async def port_gateway(tmp_path: Path) -> AsyncIterator[PortGateway]:
    """A gateway as its command runs it."""
    async with on_a_port(tmp_path) as gateway:
        yield gateway


@pytest.fixture
async def submitter(port_gateway: PortGateway) -> AsyncIterator[httpx2.AsyncClient]:
    """A submitter's client, with 1000 credits."""
    async with port_gateway.http(await port_gateway.account()) as http:
        yield http


@pytest.fixture
async def anyone(port_gateway: PortGateway) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a token."""
    async with port_gateway.http() as http:
        yield http

"""What a container asks of a node: it is started with one token for ever, and started again however it ended."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import trio
from machine import Machine

from edgeagent.gateway import keyring
from edgeagent.node import renewed
from edgeagent.wire import identity

pytestmark = pytest.mark.needs("sandbox")

LIMIT_S = 300.0
AN_HOUR_S = 3600.0


async def test_a_token_that_has_ended_is_no_end(tmp_path: Path) -> None:
    """NODE_JWT is a day old; the node is linked by what the gateway gave it since, and keeps what it gives now."""
    machine, home = Machine(tmp_path), tmp_path / "empty"
    home.mkdir(mode=0o700)
    with trio.fail_after(LIMIT_S):
        async with machine.gateway() as up:
            url, _, node = await machine.set_up(await up.first_line())
            signing = keyring.load(tmp_path / "gateway").signing
            key_id = identity.key_id(identity.public_key_of(signing))

            def token(age_s: float) -> str:
                return identity.issue_node_token(signing, key_id, node.node_id, (), time.time() - age_s)

            given, since = token(25 * AN_HOUR_S), token(13 * AN_HOUR_S)
            renewed.keep(home, given, since)
            environ = {"EDGEAGENT_HOME": str(home), "GATEWAY_URL": str(url), "NODE_JWT": given}
            async with machine.node(**environ):
                while (kept := renewed.read(home, given)) == since:
                    await trio.sleep(0.05)

    assert kept is not None
    left_s = identity.read_node_token(kept).expires_at - time.time()
    assert 23 * AN_HOUR_S < left_s <= 24 * AN_HOUR_S


async def test_a_refused_node_can_wait_before_it_ends(tmp_path: Path) -> None:
    """`shutdown.refused`: it says at once why, stays, and ends with 3 when it is told to."""
    machine, log = Machine(tmp_path), tmp_path / "node.log"
    forged = identity.issue_node_token(identity.new_private_key(), "k", "7b0e5f0e-0000-4000-8000-000000000000", [], 4e9)
    with trio.fail_after(LIMIT_S):
        async with machine.gateway() as up:
            environ = {"EDGEAGENT_HOME": str(tmp_path / "empty"), "GATEWAY_URL": await up.first_line()}
            async with machine.node(NODE_JWT=forged, EDGEAGENT_SHUTDOWN_REFUSED="1h", **environ) as node:
                while "Refused by the gateway" not in log.read_text():
                    assert node.process.returncode is None, node.tail()
                    await trio.sleep(0.05)
                assert "4001" in log.read_text()
                node.process.send_signal(signal.SIGTERM)
                assert 3 == await node.process.wait()

    assert "edgeagent register --force" in log.read_text().splitlines()[-1]

"""The node's token while it runs: where a fresh one is kept, and that the next start finds it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import structlog
import trio

from edgeagent.node import config, renewed
from edgeagent.node.credentials import Credentials
from edgeagent.wire import identity

KEY = identity.new_private_key()
AN_HOUR_S = 3600.0


def _token(age_s: float, node_id: str = "node-1") -> str:
    return identity.issue_node_token(KEY, "kid", node_id, (), time.time() - age_s)


async def _renew(who: config.Identity, fresh: str, seen: Path) -> None:
    """Renew, as the link does, and wait until ``seen`` holds the fresh token."""
    credentials = Credentials.of(who)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(credentials.run)
            credentials.renew(fresh)
            while not (seen.exists() and fresh in seen.read_text()):
                assert fresh == credentials.token
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_container_that_starts_after_its_tokens_day_is_still_the_node(tmp_path: Path, times: int) -> None:
    """The variable's token has ended; the last one that the gateway gave is used."""
    environ = {"GATEWAY_URL": "http://gw", "NODE_JWT": _token(25 * AN_HOUR_S)}
    for turn in range(times):
        fresh = _token(12 * AN_HOUR_S - turn)
        await _renew(config.load(tmp_path, environ), fresh, tmp_path / renewed.FILE)

    assert fresh == config.load(tmp_path, environ).token
    assert not (tmp_path / "config.json").exists()


async def test_a_registered_nodes_token_is_kept_in_its_file(tmp_path: Path) -> None:
    """All else in ``config.json`` stays as it was."""
    file = tmp_path / "config.json"
    document = {"node_id": "node-1", "name": "n", "gateway_url": "http://gw", "jwt_token": _token(13 * AN_HOUR_S)}
    file.write_text(json.dumps(document))
    fresh = _token(0)
    await _renew(config.load(tmp_path, {}), fresh, file)

    assert {**document, "jwt_token": fresh} == json.loads(file.read_text())
    assert not (tmp_path / renewed.FILE).exists()


async def test_a_home_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """The fresh token is used while the node runs; a warning says that it was not stored."""
    who = config.load(tmp_path / "gone", {"GATEWAY_URL": "http://gw", "NODE_JWT": _token(0)})
    credentials = Credentials.of(who)
    with structlog.testing.capture_logs() as logs, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(credentials.run)
            for times, fresh in enumerate((_token(1), _token(2)), 1):
                credentials.renew(fresh)
                while [one["event"] for one in logs].count("Token not stored") < times:
                    assert fresh == credentials.token
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

"""A node's key through its whole life, node and gateway both real: crashes, rotation, tokens that have ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from scripted import PATIENCE_S, PortGateway, on_a_port
from structlog.testing import capture_logs

from edgeagent.errors import EdgeAgentError, RefusedError
from edgeagent.gateway import auth, ownership
from edgeagent.gateway.config import GatewaySettings, Registration
from edgeagent.gateway.store.orders import Kind
from edgeagent.node import enrol, files, pending, proving, service
from edgeagent.node.config import load
from edgeagent.node.options.sections import Health
from edgeagent.node.options.settings import Settings
from edgeagent.node.stopping import Stop
from edgeagent.rest import Rest
from edgeagent.wire import identity
from edgeagent.wire.urls import GatewayUrl


class Crash(BaseException):
    """The process is gone."""


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], None]:
    """Have the process end at the given write after the gateway's answer; returns how to go on after the restart."""
    write, install, count = files.write, pending.install, 0

    def crash(path: Path, content: bytes, mode: int) -> None:
        nonlocal count
        if count == step:
            raise Crash
        count += 1
        write(path, content, mode)

    def installing(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(files, "write", crash)
        install(*args, **kwargs)
        raise Crash

    def restart() -> None:
        monkeypatch.setattr(files, "write", write)
        monkeypatch.setattr(pending, "install", install)

    monkeypatch.setattr(pending, "install", installing)
    return restart


async def me(gateway: GatewayUrl, home: Path) -> dict[str, Any]:
    """Return what the gateway says of the node whose home this is; the key has to fit the token's node."""
    config = json.loads((home / "config.json").read_text())
    async with Rest(gateway, config["jwt_token"]) as rest:
        profile = await rest.call("GET", "/nodes/me")
    assert profile["node_id"] == config["node_id"]
    assert (home / "public_key.pem").read_text() == identity.public_key_of((home / "private_key.pem").read_bytes())
    token = await proving.fresh_token(home, gateway, config["node_id"])
    assert token is not None
    return profile


@pytest.mark.parametrize("step", range(4))
async def test_a_crash_after_the_first_answer_is_mended(
    port_gateway: PortGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Whichever files were in place by then: the same command again, or a start, completes the registration."""
    gateway, home = GatewayUrl.parse(port_gateway.url), tmp_path / "home"
    restart = crash_at(monkeypatch, step)
    with pytest.raises(Crash):
        await enrol.register(home, gateway, "n", ("echo",), force=False)
    restart()

    if step < 3:  # with all three in place the node simply is registered
        again = await enrol.register(home, gateway, "n", ("echo",), force=False)
        assert again.name == "n"
    assert (await me(gateway, home))["name"] == "n"
    assert {one.name for one in home.iterdir()} == {"private_key.pem", "public_key.pem", "config.json"}


@pytest.mark.parametrize("step", range(3))
async def test_a_crash_in_a_forced_registration_or_a_rotation_keeps_the_node(
    port_gateway: PortGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The gateway knows the new key only; the next start puts it in place."""
    gateway, home = GatewayUrl.parse(port_gateway.url), tmp_path / "home"
    first = await enrol.register(home, gateway, "n", ("echo",), force=False)
    for change in (
        lambda: enrol.register(home, gateway, "n", ("echo",), force=True),
        lambda: proving.rotate(home),
    ):
        restart = crash_at(monkeypatch, step)
        with pytest.raises(Crash):
            await change()
        restart()
        await trio.to_thread.run_sync(proving.settle, home)
        assert (await me(gateway, home))["node_id"] == first.node_id


async def test_a_crash_before_the_request_changes_nothing(port_gateway: PortGateway, tmp_path: Path) -> None:
    """The gateway has not heard of the key: the old one stays."""
    gateway, home = GatewayUrl.parse(port_gateway.url), tmp_path / "home"
    first = await enrol.register(home, gateway, "n", ("echo",), force=False)
    before = (home / "private_key.pem").read_bytes()
    pending.begin(home, json.loads((home / "config.json").read_text()))

    await trio.to_thread.run_sync(proving.settle, home)

    assert (home / "private_key.pem").read_bytes() == before
    assert (await me(gateway, home))["node_id"] == first.node_id
    assert not (home / ".pending").exists()


async def test_a_key_is_rotated(port_gateway: PortGateway, tmp_path: Path) -> None:
    """Same node, new key, and the old one's token is void."""
    gateway, home = GatewayUrl.parse(port_gateway.url), tmp_path / "home"
    first = await enrol.register(home, gateway, "n", ("echo",), force=False)
    old = (home / "private_key.pem").read_bytes()

    assert await proving.rotate(home) == first.node_id

    assert (home / "private_key.pem").read_bytes() != old
    assert (await me(gateway, home))["capabilities"] == ["echo"]
    async with Rest(gateway, first.token) as rest:
        with pytest.raises(RefusedError, match="present key"):
            await rest.call("GET", "/nodes/me")
    with pytest.raises(EdgeAgentError, match="not registered"):
        await proving.rotate(tmp_path / "elsewhere")


SETTINGS = Settings(health=Health(port=0))


class NoJobs:
    """Stands in for the sandbox: no job is ever sent here."""

    tier = "none"
    shows_inputs = False

    async def run(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("no job was sent")


async def test_a_running_node_gets_over_void_tokens_by_itself(port_gateway: PortGateway, tmp_path: Path) -> None:
    """Its tokens are revoked, then the gateway's key is dropped: it proves its key and comes back; revoked, it ends."""
    gateway, home = GatewayUrl.parse(port_gateway.url), tmp_path / "home"
    node = await enrol.register(home, gateway, "n", ("echo",), force=False)
    place = GatewaySettings(data_dir=port_gateway.data_dir)

    async def linked(times: int) -> None:
        """Wait until the node has had so many links."""
        while sum(entry["event"] == "Connected to relay server" for entry in logs) < times:  # noqa: ASYNC110
            await trio.sleep(0.05)

    async def refused() -> None:
        with pytest.raises(RefusedError, match=r"4001.*revoked: enough"):
            await service.run(load(home, {}), SETTINGS, NoJobs(), ("echo",), stop=Stop())
        nursery.cancel_scope.cancel()

    with trio.fail_after(3 * PATIENCE_S), capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused)
            await linked(1)
            await trio.to_thread.run_sync(ownership.order, place, Kind.VOID_TOKENS, "n")
            await linked(2)
            await trio.to_thread.run_sync(lambda: ownership.rotate_keys(place, drop=True))
            await linked(3)
            assert json.loads((home / "config.json").read_text())["jwt_token"] != node.token
            await trio.to_thread.run_sync(ownership.order, place, Kind.REVOKE, "n", "enough")
            await trio.sleep_forever()


async def test_a_join_token_goes_along(tmp_path: Path) -> None:
    """Where the gateway wants one."""
    async with on_a_port(tmp_path / "data", registration=Registration.TOKEN) as running:
        gateway = GatewayUrl.parse(running.url)
        place = GatewaySettings(data_dir=tmp_path / "data")
        token = await trio.to_thread.run_sync(ownership.create_join_token, place, 1, None)
        assert token.startswith(auth.JOIN_TOKEN_PREFIX)
        with pytest.raises(RefusedError, match="join token is needed"):
            await enrol.register(tmp_path / "a", gateway, "a", ("echo",), force=False)
        await enrol.register(tmp_path / "a", gateway, "a", ("echo",), force=False, join_token=token)
        with pytest.raises(RefusedError, match="not good"):
            await enrol.register(tmp_path / "b", gateway, "b", ("echo",), force=False, join_token=token)

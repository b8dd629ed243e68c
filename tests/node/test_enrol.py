"""Registration against a small real HTTP server, and the files it leaves or does not touch."""

from __future__ import annotations

import contextlib
import json
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import hypercorn.trio
import pytest
import trio
from hypercorn.config import Config

from edgeagent.errors import EdgeAgentError, RefusedError, UnreachableError
from edgeagent.node import enrol
from edgeagent.wire import identity
from edgeagent.wire.urls import GatewayUrl

NAMES = ("private_key.pem", "public_key.pem", "config.json")


class Registry:
    """Answers POST /api/v1/nodes/register and keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = 201
        self.answer: Any = {"node_id": "node-1", "token": "the-token", "status": "REGISTERED"}
        self.before_answer: Callable[[], None] = lambda: None
        self.url = GatewayUrl(False, "")

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            while (event := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{event['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert "POST" == scope["method"]
        if scope["path"] != "/api/v1/nodes/register":  # of a gateway that has no challenges
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
            return
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event["body"], event.get("more_body", False)
        self.bodies.append(json.loads(body))
        self.before_answer()
        content = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": content})


@contextlib.asynccontextmanager
async def _serving(registry: Registry) -> AsyncIterator[Registry]:
    listener = socket.create_server(("127.0.0.1", 0))
    registry.url = GatewayUrl.parse(f"http://127.0.0.1:{listener.getsockname()[1]}")
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    config.graceful_timeout = 0.1
    async with trio.open_nursery() as nursery:
        await nursery.start(hypercorn.trio.serve, registry, config)
        yield registry
        nursery.cancel_scope.cancel()


@pytest.fixture
async def registry(nursery: trio.Nursery) -> AsyncIterator[Registry]:
    """A gateway's registry on loopback."""
    async with _serving(Registry()) as registry:
        yield registry


def _contents(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.glob("*") if path.is_file()}


async def _register(registry: Registry, home: Path, *, force: bool = False, name: str = "my-node") -> enrol.Registered:
    with trio.fail_after(15):
        return await enrol.register(home, registry.url, name, ("render",), force=force)


async def test_a_first_registration_writes_three_files(registry: Registry, tmp_path: Path) -> None:
    """The key is its owner's alone, and is the one that the gateway was shown."""
    home = tmp_path / "home"

    registered = await _register(registry, home)

    assert ("node-1", "the-token", "REGISTERED", "my-node") == (
        registered.node_id,
        registered.token,
        registered.status,
        registered.name,
    )
    modes = {name: stat.S_IMODE((home / name).stat().st_mode) for name in NAMES}
    assert {"private_key.pem": 0o600, "public_key.pem": 0o644, "config.json": 0o600} == modes
    assert 0o700 == stat.S_IMODE(home.stat().st_mode)
    assert set(NAMES) == {path.name for path in home.iterdir()}
    public_pem = identity.public_key_of((home / "private_key.pem").read_bytes())
    assert public_pem == (home / "public_key.pem").read_text() == registry.bodies[0]["public_key"]
    assert {"name": "my-node", "capabilities": ["render"]}.items() <= registry.bodies[0].items()
    assert {
        "node_id": "node-1",
        "name": "my-node",
        "gateway_url": str(registry.url),
        "jwt_token": "the-token",
        "status": "REGISTERED",
        "capabilities": ["render"],
    } == json.loads((home / "config.json").read_text())


async def test_the_key_is_never_readable_by_others_while_it_is_made(registry: Registry, tmp_path: Path) -> None:
    """Looked at in the middle of the registration, in its directory inside the home."""
    home, seen = tmp_path / "home", []
    registry.before_answer = lambda: seen.extend(
        (path.name, stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode))
        for path in home.rglob("*.pem")
    )

    await _register(registry, home)

    assert [("private_key.pem", 0o600, 0o700)] == seen


async def test_a_second_registration_without_force_says_so(registry: Registry, tmp_path: Path) -> None:
    """And asks nobody."""
    await _register(registry, tmp_path)
    before = _contents(tmp_path)

    with pytest.raises(EdgeAgentError, match=r"already registered \(node node-1 .*--force") as raised:
        await _register(registry, tmp_path)

    assert 1 == raised.value.exit_code
    assert before == _contents(tmp_path)
    assert 1 == len(registry.bodies)


async def test_force_hands_the_node_over_to_the_new_key(registry: Registry, tmp_path: Path) -> None:
    """Signed by the old one, so that id and earnings stay."""
    await _register(registry, tmp_path)
    old_public = (tmp_path / "public_key.pem").read_text()

    registered = await _register(registry, tmp_path, force=True)

    body = registry.bodies[1]
    proof = identity.replacement_proof("node-1", body["public_key"])
    assert "node-1" == body["replaces"]["node_id"]
    assert identity.verify(old_public, proof, body["replaces"]["signature"])
    assert registered.replaced
    assert body["public_key"] == (tmp_path / "public_key.pem").read_text() != old_public


async def test_force_at_another_gateway_is_a_new_node(registry: Registry, tmp_path: Path) -> None:
    """The other gateway does not know the old one."""
    await _register(registry, tmp_path)
    async with _serving(Registry()) as other:
        await _register(other, tmp_path, force=True)

        assert "replaces" not in other.bodies[0]


@pytest.mark.parametrize(("name", "content"), [("config.json", b"{"), ("private_key.pem", b"rubbish")])
async def test_force_over_an_unusable_identity_is_a_new_node(
    registry: Registry, tmp_path: Path, name: str, content: bytes
) -> None:
    """The guide's "keys are lost"."""
    await _register(registry, tmp_path)
    (tmp_path / name).write_bytes(content)

    registered = await _register(registry, tmp_path, force=True)

    assert "replaces" not in registry.bodies[1]
    assert not registered.replaced
    assert "node-1" == json.loads((tmp_path / "config.json").read_text())["node_id"]


@pytest.mark.parametrize(
    ("status", "answer", "kind", "says"),
    [
        (409, {"detail": "the name my-node is taken"}, RefusedError, "the name my-node is taken"),
        (403, {"detail": "bad signature"}, RefusedError, "bad signature"),
        (422, {"detail": "two\nlines"}, RefusedError, "two lines"),
        (404, b"<html>no</html>", RefusedError, "HTTP 404"),
        (500, {"detail": "a bug"}, UnreachableError, "cannot serve this now: a bug"),
        (201, b"<html>welcome</html>", UnreachableError, "does not answer as an edgeagent gateway does"),
        (201, {"node_id": 7}, UnreachableError, "does not answer as an edgeagent gateway does"),
    ],
)
async def test_a_refusal_leaves_the_old_identity_byte_for_byte(
    registry: Registry, tmp_path: Path, status: int, answer: Any, kind: type[EdgeAgentError], says: str
) -> None:
    """With the gateway's own words, on one line."""
    await _register(registry, tmp_path)
    before = _contents(tmp_path)
    registry.status, registry.answer = status, answer

    with pytest.raises(kind) as raised:
        await _register(registry, tmp_path, force=True)

    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert before == _contents(tmp_path)


async def test_an_unreachable_gateway_leaves_the_old_identity_byte_for_byte(registry: Registry, tmp_path: Path) -> None:
    """The guide's "Connection refused"."""
    async with _serving(Registry()) as other:
        await _register(other, tmp_path)
    before = _contents(tmp_path)

    with pytest.raises(UnreachableError, match="Connection refused"):
        await _register(other, tmp_path, force=True)

    assert before == _contents(tmp_path)


async def test_a_refused_first_registration_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    """Not even half a key."""
    registry.status, registry.answer = 409, {"detail": "taken"}

    with pytest.raises(RefusedError):
        await _register(registry, tmp_path / "home")

    assert [] == list((tmp_path / "home").iterdir())


async def test_a_home_that_cannot_be_made_is_one_clear_line(registry: Registry, tmp_path: Path) -> None:
    """A file is in its place."""
    (tmp_path / "home").write_text("")

    with pytest.raises(EdgeAgentError, match="home cannot be used as a directory"):
        await _register(registry, tmp_path / "home")


async def test_the_token_is_not_in_the_repr(registry: Registry, tmp_path: Path) -> None:
    """Shown on purpose by the command, never by accident."""
    assert "the-token" not in repr(await _register(registry, tmp_path))

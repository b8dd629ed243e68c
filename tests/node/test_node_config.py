"""Who the node is: environment over ``config.json``, and what is said when something is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from edgeagent.errors import UsageError
from edgeagent.node import config, renewed
from edgeagent.wire import identity
from edgeagent.wire.urls import GatewayUrl

KEY = identity.new_private_key()


def _token(node_id: str = "node-1", capabilities: tuple[str, ...] = ("render",)) -> str:
    return identity.issue_node_token(KEY, "kid", node_id, capabilities, time.time())


def _home(tmp_path: Path, **changes: Any) -> Path:
    document = {
        "node_id": "node-1",
        "name": "my-node",
        "gateway_url": "https://file.example.com",
        "jwt_token": _token(),
        "status": "REGISTERED",
        "capabilities": ["inference"],
    }
    (tmp_path / "config.json").write_text(json.dumps({**document, **changes}))
    return tmp_path


def test_a_registered_home_is_enough(tmp_path: Path) -> None:
    """``edgeagent run`` without any variable."""
    loaded = config.load(_home(tmp_path), {})

    assert (GatewayUrl.parse("https://file.example.com"), "node-1", "my-node", ("inference",)) == (
        loaded.gateway,
        loaded.node_id,
        loaded.name,
        loaded.capabilities,
    )
    assert loaded.token_in_file


def test_two_variables_are_enough(tmp_path: Path) -> None:
    """As in the guide's container: no file, the node's id is the token's subject."""
    token = _token("node-9")
    loaded = config.load(tmp_path / "none", {"GATEWAY_URL": "wss://env.example.com/api/v1", "NODE_JWT": token})

    assert ("https://env.example.com", "node-9", token, ("render",)) == (
        str(loaded.gateway),
        loaded.node_id,
        loaded.token,
        loaded.capabilities,
    )
    assert not loaded.token_in_file


def test_the_token_that_came_after_the_variables_is_used(tmp_path: Path) -> None:
    """A container has the same NODE_JWT at each start; what the gateway gave since is kept by another name."""
    given, fresh = _token(), _token(capabilities=())
    environ = {"GATEWAY_URL": "http://gw", "NODE_JWT": given}
    renewed.keep(tmp_path, given, fresh)
    loaded = config.load(tmp_path, environ)

    assert (fresh, given, ("render",)) == (loaded.token, loaded.given_token, loaded.capabilities)
    assert 0o600 == (tmp_path / renewed.FILE).stat().st_mode & 0o777
    assert given not in (tmp_path / renewed.FILE).read_text()


def test_another_variable_is_newer_than_what_is_kept(tmp_path: Path) -> None:
    """Somebody has registered again, and exported what he was given."""
    renewed.keep(tmp_path, _token(), _token())
    newest = _token(capabilities=("inference",))

    assert newest == config.load(tmp_path, {"GATEWAY_URL": "http://gw", "NODE_JWT": newest}).token


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"given_sha256": 1}', "\udcff"])
def test_a_damaged_file_of_what_was_kept_is_no_obstacle(tmp_path: Path, content: str) -> None:
    """The variable's own token may still do."""
    (tmp_path / renewed.FILE).write_text(content, errors="surrogateescape")
    given = _token()

    assert given == config.load(tmp_path, {"GATEWAY_URL": "http://gw", "NODE_JWT": given}).token


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("GATEWAY_URL", "http://env:1", "gateway", GatewayUrl.parse("http://env:1")),
        ("NODE_ID", "node-1", "node_id", "node-1"),
    ],
)
def test_the_environment_wins(tmp_path: Path, variable: str, value: str, field: str, expected: object) -> None:
    """Each variable of the guide, unprefixed."""
    assert expected == getattr(config.load(_home(tmp_path), {variable: value}), field)


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    """Compose files pass ``${NODE_ID:-}`` on as the empty text."""
    empty = dict.fromkeys(("GATEWAY_URL", "NODE_JWT", "NODE_ID"), "")

    assert "node-1" == config.load(_home(tmp_path), empty).node_id


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"GATEWAY_URL": "gateway.example.com"}, "GATEWAY_URL: 'gateway.example.com' is not"),
        ({"NODE_JWT": "abc"}, "NODE_JWT does not hold a node's token"),
        ({"NODE_ID": "node-2"}, "NODE_ID is node-2, but the token"),
    ],
)
def test_a_bad_variable_is_named(tmp_path: Path, environ: dict[str, str], says: str) -> None:
    """One line."""
    with pytest.raises(UsageError) as raised:
        config.load(_home(tmp_path), environ)

    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("missing", "says"), [("gateway_url", "set GATEWAY_URL, or register"), ("jwt_token", "set NODE_JWT, or register")]
)
def test_what_is_missing_is_named_with_what_to_type(tmp_path: Path, missing: str, says: str) -> None:
    """Both ways to provide it."""
    home = _home(tmp_path)
    document = json.loads((home / "config.json").read_text())
    del document[missing]
    (home / "config.json").write_text(json.dumps(document))

    with pytest.raises(UsageError, match=says):
        config.load(home, {})


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"\xff\xfe", b'"text"', b'{"capabilities": "render"}', b'{"name": 7}', b'{"node_id": 7}'),
        *(b'{"gateway_url": []}', b'{"jwt_token": 5}'),
    ],
)
def test_a_corrupt_file_is_named_with_what_to_type(tmp_path: Path, content: bytes) -> None:
    """Never a traceback."""
    (tmp_path / "config.json").write_bytes(content)

    with pytest.raises(UsageError, match=r"config\.json.*edgeagent register --force"):
        config.load(tmp_path, {"GATEWAY_URL": "http://gw", "NODE_JWT": _token()})


def test_a_directory_in_its_place_is_unreadable(tmp_path: Path) -> None:
    """As is a file of somebody else's; root could read that one, hence a directory here."""
    (tmp_path / "config.json").mkdir()

    with pytest.raises(UsageError, match=r"config\.json cannot be read: Is a directory"):
        config.load(tmp_path, {})


def test_the_token_is_not_in_the_repr(tmp_path: Path) -> None:
    """Configurations end up in logs."""
    loaded = config.load(_home(tmp_path), {})

    assert loaded.token not in repr(loaded)


def test_the_default_home_can_be_moved() -> None:
    """``EDGEAGENT_HOME``."""
    assert Path("/srv/node") == config.default_home({"EDGEAGENT_HOME": "/srv/node"})
    assert Path.home() / ".edgeagent" == config.default_home({})


@pytest.mark.parametrize(
    ("key", "option"),
    [("slots", "share.slots"), ("gpus", "gpu.lend"), ("gpu_share", "gpu.jobs_each"), ("gpus_per_job", "gpu.per_job")],
)
def test_what_the_owner_wants_does_not_belong_there(tmp_path: Path, key: str, option: str) -> None:
    """It would be ignored in silence otherwise; the line says where it belongs."""
    with pytest.raises(UsageError, match=rf"json: '{key}' does not belong here.* edgeagent config set {option}"):
        config.load(_home(tmp_path, **{key: 1}), {})


def test_a_secret_is_never_named_in_a_fault(tmp_path: Path) -> None:
    """Neither a token that is none, nor one of the wrong type."""
    for faulty in ("hidden\nhidden", ["hidden"]):
        with pytest.raises(UsageError) as raised:
            config.load(_home(tmp_path, jwt_token=faulty), {})
        assert "hidden" not in str(raised.value)

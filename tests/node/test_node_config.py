"""Environment over file over default, and what is said when something is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from edgeagent.errors import UsageError
from edgeagent.node import config
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
    assert ("127.0.0.1", 8081, "INFO") == (loaded.health_host, loaded.health_port, loaded.log_level)
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


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("GATEWAY_URL", "http://env:1", "gateway", GatewayUrl.parse("http://env:1")),
        ("NODE_ID", "node-1", "node_id", "node-1"),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("HEALTH_PORT", "0", "health_port", 0),
        ("HEALTH_PORT", "9999", "health_port", 9999),
    ],
)
def test_the_environment_wins(tmp_path: Path, variable: str, value: str, field: str, expected: object) -> None:
    """Each variable of the guide, unprefixed."""
    assert expected == getattr(config.load(_home(tmp_path), {variable: value}), field)


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    """Compose files pass ``${NODE_ID:-}`` on as the empty text."""
    empty = dict.fromkeys(("GATEWAY_URL", "NODE_JWT", "NODE_ID", "LOG_LEVEL", "HEALTH_PORT"), "")

    assert "node-1" == config.load(_home(tmp_path), empty).node_id


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"GATEWAY_URL": "gateway.example.com"}, "GATEWAY_URL: 'gateway.example.com' is not"),
        ({"NODE_JWT": "abc"}, "NODE_JWT does not hold a node's token"),
        ({"NODE_ID": "node-2"}, "NODE_ID is node-2, but the token"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
        ({"HEALTH_PORT": "http"}, "HEALTH_PORT is 'http'"),
        ({"HEALTH_PORT": "65536"}, "HEALTH_PORT is '65536'"),
        ({"HEALTH_PORT": "-1"}, "HEALTH_PORT is '-1'"),
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
        *(b"", b"{", b"[]", b"\xff\xfe", b'"text"', b'{"capabilities": "render"}', b'{"slots": 0}', b'{"node_id": 7}'),
        *(b'{"gpus": "all"}', b'{"gpus": [0]}', b'{"gpu_share": 0}', b'{"gpu_share": 65}', b'{"gpu_share": true}'),
        *(b'{"gpus_per_job": 1}', b'{"gpus_per_job": {"render": -1}}', b'{"gpus_per_job": {"render": "1"}}'),
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


def test_how_gpus_are_lent_is_in_the_file(tmp_path: Path) -> None:
    """All of them, each to one job at a time, unless it says otherwise."""
    environ = {"GATEWAY_URL": "http://gw", "NODE_JWT": _token()}
    usual = config.load(tmp_path, environ)
    document = {"gpus": ["GPU-1"], "gpu_share": 2, "gpus_per_job": {"render": 1}}
    (tmp_path / "config.json").write_text(json.dumps(document))

    told = config.load(tmp_path, environ)

    assert (None, 1, {}) == (usual.gpus, usual.gpu_share, usual.gpus_per_job)
    assert (("GPU-1",), 2, {"render": 1}) == (told.gpus, told.gpu_share, told.gpus_per_job)


@pytest.mark.parametrize(("value", "allowed"), [(None, False), ("0", False), ("1", True)])
def test_tier_c_is_allowed_by_the_environment_alone(value, allowed):
    """Unset and 0 refuse a host without namespaces."""
    assert allowed == config.tier_c_allowed({} if value is None else {"EDGEAGENT_ALLOW_TIER_C": value})


def test_an_unclear_wish_for_tier_c_is_refused():
    """Rather than taken for one of the two."""
    with pytest.raises(UsageError, match="EDGEAGENT_ALLOW_TIER_C is 'yes'; it must be a number from 0 to 1"):
        config.tier_c_allowed({"EDGEAGENT_ALLOW_TIER_C": "yes"})

"""What the node knows about itself: environment over ``config.json`` over defaults.

The guide's variables alone are enough (``GATEWAY_URL`` and ``NODE_JWT``, as in a container), and so is a registered
home alone.  Every fault is one ``UsageError`` line that names the variable or the file and says what to type.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from edgeagent import logs
from edgeagent.errors import UsageError
from edgeagent.node import files
from edgeagent.node.slots import default_slots
from edgeagent.wire.identity import InvalidTokenError, read_node_token
from edgeagent.wire.urls import GatewayUrl

DEFAULT_HEALTH_HOST = "127.0.0.1"
DEFAULT_HEALTH_PORT = 8081
_REGISTER = "edgeagent register --gateway-url URL --name NAME"


@attrs.frozen(kw_only=True)
class NodeConfig:
    """Everything ``edgeagent run`` needs."""

    home: Path
    gateway: GatewayUrl
    node_id: str
    token: str = attrs.field(repr=False)
    name: str | None = None
    capabilities: tuple[str, ...] = ()  # job types the owner named; empty: all that this host can run
    health_host: str = DEFAULT_HEALTH_HOST
    health_port: int = DEFAULT_HEALTH_PORT  # 0: a free one
    slots: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    gpus: tuple[str, ...] | None = None  # uuids of those to lend; None: all that are found
    gpu_share: int = attrs.field(default=1, validator=attrs.validators.ge(1))  # jobs on one GPU at once
    gpus_per_job: Mapping[str, int] = attrs.Factory(dict)  # by job type; a job may ask for more
    log_level: str = "INFO"
    token_in_file: bool = False  # the token is config.json's, so a renewed one belongs there


def default_home(environ: Mapping[str, str]) -> Path:
    """Return the node's directory: ``EDGEAGENT_HOME``, or ``~/.edgeagent``."""
    named = environ.get("EDGEAGENT_HOME")
    return Path(named) if named else Path.home() / ".edgeagent"


def tier_c_allowed(environ: Mapping[str, str]) -> bool:
    """Say whether jobs may run without namespaces: ``EDGEAGENT_ALLOW_TIER_C`` is 1.

    The environment alone says so, since the sandbox starts before ``config.json`` and the secret in it are read.

    Raises:
        UsageError: it is neither 0 nor 1.
    """
    return _number(environ, "EDGEAGENT_ALLOW_TIER_C", 0, 1) == 1


def load(home: Path, environ: Mapping[str, str]) -> NodeConfig:
    """Return the configuration that ``home`` and the environment give together.

    Raises:
        UsageError: something is missing or makes no sense; one line says what, where and what to do.
    """
    stored = _stored(home)
    gateway_url = environ.get("GATEWAY_URL") or stored.get("gateway_url")
    if not gateway_url:
        raise UsageError(f"no gateway: set GATEWAY_URL, or register this machine with: {_REGISTER}")
    token = environ.get("NODE_JWT") or stored.get("jwt_token")
    if not token:
        raise UsageError(f"no token: set NODE_JWT, or register this machine with: {_REGISTER}")
    from_file = not environ.get("NODE_JWT")
    where = str(home / files.CONFIG) if from_file else "NODE_JWT"
    try:
        claims = read_node_token(token)
    except InvalidTokenError as error:
        raise UsageError(f"{where} does not hold a node's token ({error}); get one with: {_REGISTER}") from None
    node_id = environ.get("NODE_ID") or claims.node_id
    if node_id != claims.node_id:
        raise UsageError(f"NODE_ID is {node_id}, but the token in {where} is node {claims.node_id}'s; unset NODE_ID")
    return NodeConfig(
        home=home,
        gateway=_gateway(gateway_url, "GATEWAY_URL" if environ.get("GATEWAY_URL") else str(home / files.CONFIG)),
        node_id=node_id,
        token=token,
        name=stored.get("name"),
        capabilities=tuple(stored["capabilities"] if "capabilities" in stored and from_file else claims.capabilities),
        health_port=_number(environ, "HEALTH_PORT", DEFAULT_HEALTH_PORT, 65535),
        slots=stored.get("slots") or default_slots(len(os.sched_getaffinity(0))),
        gpus=tuple(stored["gpus"]) if "gpus" in stored else None,
        gpu_share=stored.get("gpu_share", 1),
        gpus_per_job=stored.get("gpus_per_job", {}),
        log_level=logs.check_level(environ.get("LOG_LEVEL") or "INFO"),
        token_in_file=from_file,
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "node_id": ("a text", lambda value: isinstance(value, str)),
    "name": ("a text", lambda value: isinstance(value, str)),
    "gateway_url": ("a text", lambda value: isinstance(value, str)),
    "jwt_token": ("a text", lambda value: isinstance(value, str)),
    "capabilities": ("a list of names", _texts),
    "slots": ("a number from 1 to 1024", lambda value: _whole(value, 1, 1024)),
    "gpus": ("a list of GPUs' UUIDs", _texts),
    "gpu_share": ("a number from 1 to 64", lambda value: _whole(value, 1, 64)),
    "gpus_per_job": (
        "numbers from 0 to 64 by job type",
        lambda value: isinstance(value, dict) and all(_whole(one, 0, 64) for one in value.values()),
    ),
}


def _stored(home: Path) -> dict[str, Any]:
    """Return ``config.json``'s content, each known key checked; nothing where there is no file."""
    document = files.read_config(home) or {}
    for key, (kind, fits) in _KINDS.items():
        if key in document and not fits(document[key]):
            raise UsageError(
                f"{home / files.CONFIG}: {key!r} must be {kind}; repair it, or: edgeagent register --force ..."
            )
    return document


def _gateway(text: str, where: str) -> GatewayUrl:
    try:
        return GatewayUrl.parse(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def _number(environ: Mapping[str, str], name: str, default: int, largest: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) <= largest):
        raise UsageError(f"{name} is {text!r}; it must be a number from 0 to {largest}")
    return int(text)

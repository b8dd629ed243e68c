"""Who the node is: flag over environment over ``config.json``; what its owner wants is in ``node.options``.

The guide's variables alone are enough (``GATEWAY_URL`` and ``NODE_JWT``, as in a container), and so is a registered
home alone.  Every fault is one ``UsageError`` line that names the variable or the file and says what to type.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from edgeagent.errors import UsageError
from edgeagent.node import files, renewed
from edgeagent.node.options.identity import OPTIONS
from edgeagent.node.options.kinds import Names, Text
from edgeagent.node.options.resolve import Resolved, Source, resolve
from edgeagent.wire.identity import InvalidTokenError, read_node_token
from edgeagent.wire.urls import GatewayUrl

_REGISTER = "edgeagent register --gateway-url URL --name NAME"

#: What ``config.json`` holds beside them.
_ALSO: dict[str, Any] = {"name": Text(), "capabilities": Names()}
#: What stood there once, and where it does now.
_MOVED = {"slots": "share.slots", "gpus": "gpu.lend", "gpu_share": "gpu.jobs_each", "gpus_per_job": "gpu.per_job"}


@attrs.frozen(kw_only=True)
class Identity:
    """A node as its gateway knows it."""

    home: Path
    gateway: GatewayUrl
    node_id: str
    token: str = attrs.field(repr=False)
    name: str | None = None
    capabilities: tuple[str, ...] = ()  # job types named at registration; empty: all that this host can run
    given_token: str | None = attrs.field(default=None, repr=False)  # what NODE_JWT holds, where it is not the file's

    @property
    def token_in_file(self) -> bool:
        """Whether the token is ``config.json``'s, so that a renewed one belongs there."""
        return self.given_token is None


def default_home(environ: Mapping[str, str]) -> Path:
    """Return the node's directory: ``EDGEAGENT_HOME``, or ``~/.edgeagent``."""
    named = environ.get("EDGEAGENT_HOME")
    return Path(named) if named else Path.home() / ".edgeagent"


def resolved(home: Path, environ: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Resolved:
    """Return where each part of the identity comes from, unchecked.

    Raises:
        UsageError: ``config.json`` cannot be read, or holds what it must not.
    """
    file = home / files.CONFIG
    found = resolve(OPTIONS, flags=flags or {}, environ=environ, document=_stored(home), file=file)
    return attrs.evolve(found, faults=tuple(_repair(one) if str(file) in one else one for one in found.faults))


def load(home: Path, environ: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Identity:
    """Return the identity that ``home``, the environment and the command line give together; reads the token.

    Raises:
        UsageError: something is missing or makes no sense; one line says what, where and what to do.
    """
    stored, found = _stored(home), resolved(home, environ, flags)
    found.check()
    gateway_url, node_id, token = (found.settings[option.key] for option in OPTIONS)
    if not gateway_url.value:
        raise UsageError(f"no gateway: set GATEWAY_URL, or register this machine with: {_REGISTER}")
    if not token.value:
        raise UsageError(f"no token: set NODE_JWT, or register this machine with: {_REGISTER}")
    try:
        claims = read_node_token(token.value)
    except InvalidTokenError as error:
        raise UsageError(f"{token.place} does not hold a node's token ({error}); get one with: {_REGISTER}") from None
    from_file = token.source is Source.FILE
    # What the file says of the node goes with the file's token; only one who names it means to have it checked.
    if node_id.source in (Source.FLAG, Source.ENVIRONMENT) and node_id.value != claims.node_id:
        raise UsageError(
            f"{node_id.place} is {node_id.value}, but the token in {token.place} is node {claims.node_id}'s; "
            f"leave {node_id.place} out"
        )
    return Identity(
        home=home,
        gateway=_gateway(gateway_url.value, gateway_url.place),
        node_id=claims.node_id,
        token=token.value if from_file else renewed.read(home, token.value) or token.value,
        name=stored.get("name"),
        capabilities=tuple(stored["capabilities"] if "capabilities" in stored and from_file else claims.capabilities),
        given_token=None if from_file else token.value,
    )


def _stored(home: Path) -> dict[str, Any]:
    """Return ``config.json``'s content, checked; nothing where there is no file."""
    document = files.read_config(home) or {}
    for key, option in _MOVED.items():
        if key in document:
            raise UsageError(
                f"{home / files.CONFIG}: {key!r} does not belong here; remove it: edgeagent config set {option} ..."
            )
    for key, kind in _ALSO.items():
        if key in document:
            try:
                kind.take(document[key])
            except ValueError:
                raise UsageError(_repair(f"{home / files.CONFIG}: {key!r} must be {kind.said}")) from None
    return document


def _repair(fault: str) -> str:
    return f"{fault}; repair it, or: edgeagent register --force ..."


def _gateway(text: str, where: str) -> GatewayUrl:
    try:
        return GatewayUrl.parse(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None

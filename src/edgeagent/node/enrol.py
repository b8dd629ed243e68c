"""``edgeagent register``: a new key, and the gateway's word that it is a node.

The one rule: nothing of an old identity is touched before the gateway has accepted the new one.  The new key is kept
in a directory of its own inside the home (``node.pending``) until everything is in place, ``config.json`` last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from edgeagent.errors import EdgeAgentError, RefusedError, UsageError
from edgeagent.node import files, pending, proving
from edgeagent.node.api import Api
from edgeagent.wire import identity
from edgeagent.wire.urls import GatewayUrl


@attrs.frozen(kw_only=True)
class Registered:
    """What the gateway answered."""

    node_id: str
    token: str = attrs.field(repr=False)
    status: str
    name: str
    replaced: bool = False  # the node kept its id and earnings; only its key is new


async def register(
    home: Path,
    gateway: GatewayUrl,
    name: str,
    capabilities: Sequence[str],
    *,
    force: bool,
    join_token: str | None = None,
) -> Registered:
    """Make this machine a node of ``gateway`` and keep the identity in ``home``.

    With ``force``, an identity that is already there is replaced.  Where it is a usable one of the same gateway, the
    old key signs the change, so that the node keeps its id and what it has earned.  A registration that was cut short
    after the gateway had accepted it is completed instead.

    Raises:
        EdgeAgentError: already registered, or the files cannot be written.
        RefusedError: the gateway says no: the name is in use, for example.
        UnreachableError: the gateway did not answer.
    """
    with _written():
        settled = await proving.recover(home)
        if settled is not None and _is(settled, gateway, name):
            return _settled(settled)
        held = any((home / one).exists() for one in (files.PRIVATE_KEY, files.CONFIG))
        if held and not force:
            raise EdgeAgentError(f"this machine is already registered ({_who(home)}); to replace that, add --force")
        files.ensure_directory(home)
        config = {"name": name, "gateway_url": str(gateway), "capabilities": list(capabilities)}
        return await _register(home, gateway, config, join_token, replace=held)


async def _register(
    home: Path, gateway: GatewayUrl, config: dict[str, Any], join_token: str | None, *, replace: bool
) -> Registered:
    new = pending.begin(home, config)
    body: dict[str, Any] = {
        "name": config["name"],
        "public_key": new.public_pem,
        "capabilities": config["capabilities"],
    }
    replaces = _replaces(home, gateway, new.public_pem) if replace else None
    if replaces is not None:
        body["replaces"] = replaces
    if join_token is not None:
        body["join_token"] = join_token
    try:
        async with Api(gateway) as api:
            answer = await api.register(body)
    except RefusedError:
        pending.discard(home)
        raise
    registered = Registered(
        node_id=answer["node_id"],
        token=answer["token"],
        status=str(answer.get("status", "REGISTERED")),
        name=config["name"],
        replaced=replaces is not None and answer["node_id"] == replaces["node_id"],
    )
    pending.install(home, new, node_id=registered.node_id, token=registered.token, status=registered.status)
    return registered


def _is(settled: dict[str, Any], gateway: GatewayUrl, name: str) -> bool:
    return settled.get("name") == name and GatewayUrl.parse(str(settled.get("gateway_url"))) == gateway


def _settled(config: dict[str, Any]) -> Registered:
    return Registered(
        node_id=config["node_id"], token=config["jwt_token"], status=config["status"], name=config["name"]
    )


def _who(home: Path) -> str:
    """Return what the files say about the node that is already here."""
    try:
        stored = files.read_config(home) or {}
    except UsageError:
        stored = {}
    known = [f"node {stored['node_id']}" if "node_id" in stored else "a key", f"in {home}"]
    return " ".join(known)


def _replaces(home: Path, gateway: GatewayUrl, public_pem: str) -> dict[str, str] | None:
    """Return the old key's word that the new one is its heir; None where no usable identity of this gateway is held."""
    try:
        stored = files.read_config(home) or {}
        node_id, address = str(stored["node_id"]), str(stored["gateway_url"])
        if GatewayUrl.parse(address) != gateway:
            return None
        old_pem = (home / files.PRIVATE_KEY).read_bytes()
        signature = identity.sign(old_pem, identity.replacement_proof(node_id, public_pem))
    except (UsageError, KeyError, ValueError, OSError):
        return None
    return {"node_id": node_id, "signature": signature}


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Turn a full disk or a missing right into one line."""
    try:
        yield
    except OSError as error:
        raise EdgeAgentError(f"{error.filename or 'a file'} cannot be written: {error.strerror}") from None

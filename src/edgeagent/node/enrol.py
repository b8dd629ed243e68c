"""``edgeagent register``: a new key, and the gateway's word that it is a node.

The one rule: nothing of an old identity is touched before the gateway has accepted the new one.  The new key is made
in a directory of its own inside the home; only a 201 moves it into place, ``config.json`` last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.node import files
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
    home: Path, gateway: GatewayUrl, name: str, capabilities: Sequence[str], *, force: bool
) -> Registered:
    """Make this machine a node of ``gateway`` and keep the identity in ``home``.

    With ``force``, an identity that is already there is replaced.  Where it is a usable one of the same gateway, the
    old key signs the change, so that the node keeps its id and what it has earned.

    Raises:
        EdgeAgentError: already registered, or the files cannot be written.
        RefusedError: the gateway says no: the name is in use, for example.
        UnreachableError: the gateway did not answer.
    """
    with _written():
        held = any((home / one).exists() for one in (files.PRIVATE_KEY, files.CONFIG))
        if held and not force:
            raise EdgeAgentError(f"this machine is already registered ({_who(home)}); to replace that, add --force")
        files.ensure_directory(home)
        with files.staging(home) as stage:
            return await _register(home, stage, gateway, name, tuple(capabilities), replace=held)


async def _register(
    home: Path, stage: Path, gateway: GatewayUrl, name: str, capabilities: tuple[str, ...], *, replace: bool
) -> Registered:
    private_pem = identity.new_private_key()
    public_pem = identity.public_key_of(private_pem)
    files.write(stage / files.PRIVATE_KEY, private_pem, 0o600)
    files.write(stage / files.PUBLIC_KEY, public_pem.encode(), 0o644)
    body: dict[str, Any] = {"name": name, "public_key": public_pem, "capabilities": list(capabilities)}
    replaces = _replaces(home, gateway, public_pem) if replace else None
    if replaces is not None:
        body["replaces"] = replaces
    async with Api(gateway) as api:
        answer = await api.register(body)
    registered = Registered(
        node_id=answer["node_id"],
        token=answer["token"],
        status=str(answer.get("status", "REGISTERED")),
        name=name,
        replaced=replaces is not None,
    )
    with trio.CancelScope(shield=True):  # the gateway has forgotten the old key: what follows is all or nothing
        await trio.to_thread.run_sync(_install, home, stage, registered, gateway, capabilities)
    return registered


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


def _install(
    home: Path, stage: Path, registered: Registered, gateway: GatewayUrl, capabilities: tuple[str, ...]
) -> None:
    (stage / files.PRIVATE_KEY).replace(home / files.PRIVATE_KEY)
    (stage / files.PUBLIC_KEY).replace(home / files.PUBLIC_KEY)
    document = {
        "node_id": registered.node_id,
        "name": registered.name,
        "gateway_url": str(gateway),
        "jwt_token": registered.token,
        "status": registered.status,
        "capabilities": list(capabilities),
    }
    files.write_config(home, document)


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Turn a full disk or a missing right into one line."""
    try:
        yield
    except OSError as error:
        raise EdgeAgentError(f"{error.filename or 'a file'} cannot be written: {error.strerror}") from None

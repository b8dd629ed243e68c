"""A key that the gateway may know already although this machine has not put it in place.

Between the gateway's answer and the last rename there are moments at which a crash would leave the gateway with a new
key and the home with the old one.  So a new key is kept in ``.pending`` with what belongs to it, before the gateway
hears of it, until everything is in place; what is found there later is settled by asking the gateway whether the key
is a node's.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import attrs

from edgeagent.node import files
from edgeagent.wire import identity

_DIRECTORY, _REQUEST = ".pending", "request.json"


@attrs.frozen(kw_only=True)
class Pending:
    """A new key and the ``config.json`` that belongs to it, but for what the gateway says."""

    private_pem: bytes = attrs.field(repr=False)
    config: dict[str, Any] = attrs.field(repr=False)

    @property
    def public_pem(self) -> str:
        """The key's public half."""
        return identity.public_key_of(self.private_pem)


def begin(home: Path, config: dict[str, Any]) -> Pending:
    """Make a new key and keep it; from here on a crash can be mended.

    Raises:
        OSError: it cannot be written.
    """
    discard(home)
    pending = Pending(private_pem=identity.new_private_key(), config=config)
    directory = home / _DIRECTORY
    directory.mkdir(mode=0o700)
    files.write(directory / files.PRIVATE_KEY, pending.private_pem, 0o600)
    files.write(directory / _REQUEST, (json.dumps(config) + "\n").encode(), 0o600)
    files.sync_directory(home)
    return pending


def find(home: Path) -> Pending | None:
    """Return what an earlier call has left; None where there is nothing whole.

    Raises:
        OSError: it cannot be read.
    """
    directory = home / _DIRECTORY
    try:
        pending = Pending(
            private_pem=(directory / files.PRIVATE_KEY).read_bytes(),
            config=json.loads((directory / _REQUEST).read_bytes()),
        )
        identity.public_key_of(pending.private_pem)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the gateway has not heard of it yet
        return None
    return pending if isinstance(pending.config.get("gateway_url"), str) else None


def install(home: Path, pending: Pending, *, node_id: str, token: str, status: str) -> None:
    """Put the key and its configuration in place, in an order that a crash cannot spoil.

    Raises:
        OSError: something cannot be written; what is pending stays so.
    """
    files.write(home / files.PRIVATE_KEY, pending.private_pem, 0o600)
    files.write(home / files.PUBLIC_KEY, pending.public_pem.encode(), 0o644)
    files.write_config(home, {"node_id": node_id, **pending.config, "jwt_token": token, "status": status})
    discard(home)


def discard(home: Path) -> None:
    """Forget what is pending."""
    (home / _DIRECTORY / _REQUEST).unlink(missing_ok=True)  # first: without it the rest is nothing
    shutil.rmtree(home / _DIRECTORY, ignore_errors=True)

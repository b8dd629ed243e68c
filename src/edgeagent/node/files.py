"""The node's home: the key pair, ``config.json`` and ``config.toml``, and how they are written.

Nothing here is ever half there: a file is written beside its place with its final mode, flushed to disk and renamed.
The private key is created 0600, so there is no moment at which another user could have opened it.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from edgeagent.errors import EdgeAgentError, UsageError

PRIVATE_KEY = "private_key.pem"
PUBLIC_KEY = "public_key.pem"
#: Who this machine is; written by ``edgeagent register``, holds the token.
CONFIG = "config.json"
#: What its owner wants; written by the owner, holds no secret (``node.options``).
SETTINGS = "config.toml"


def ensure_directory(path: Path) -> None:
    """Make ``path`` a directory that is only its owner's (0700).

    Raises:
        EdgeAgentError: it cannot be made, or is somebody else's.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise EdgeAgentError(f"{path} cannot be used as a directory: {error.strerror}") from None


def write(path: Path, content: bytes, mode: int) -> None:
    """Put ``content`` at ``path`` in one step, so that a crash leaves either the old file or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Flush a directory's own entries, which makes a rename in it last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_config(home: Path, document: dict[str, Any]) -> None:
    """Put ``config.json`` in place; 0600, because it holds the token."""
    write(home / CONFIG, (json.dumps(document, indent=2) + "\n").encode(), 0o600)


def read_config(home: Path) -> dict[str, Any] | None:
    """Return ``config.json``, or None where there is none.

    Raises:
        UsageError: unreadable, or not a JSON object; says what to type.
    """
    path = home / CONFIG
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; it must be readable by this user") from None
    except ValueError as error:
        raise UsageError(
            f"{path} is not valid JSON ({error}); repair it, or write it anew with: edgeagent register --force ..."
        ) from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} must hold a JSON object; write it anew with: edgeagent register --force ...")
    return document

"""Who is calling: the gateway's key, submitters' tokens, and the two kinds of bearer token.

Nodes carry a JWT that this gateway signed, submitters a random text of which the store keeps the SHA-256.  The wall
clock read here is the store's, because what it says is compared with times that this gateway wrote itself.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from edgeagent.errors import EdgeAgentError
from edgeagent.wire import identity
from edgeagent.wire.identity import InvalidKeyError, NodeClaims

ACCOUNT_TOKEN_PREFIX = "ea_"  # noqa: S105 -- says what kind of secret follows, and is none


def new_account_token() -> str:
    """Return a fresh token of 256 random bits."""
    return ACCOUNT_TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_sha256(token: str) -> str:
    """Return what is stored of an account token.  One round is enough: there is nothing to guess in 256 bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def bearer(header: str | None) -> str | None:
    """Return the token of an Authorization header."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def load_key(path: Path) -> bytes:
    """Return the gateway's private key, made on first use and readable by its owner alone.

    Raises:
        EdgeAgentError: the file cannot be read or made, or holds something else.
    """
    try:
        if path.exists():
            key = path.read_bytes()
            identity.public_key_of(key)
        else:
            key = identity.new_private_key()
            _write_private(path, key)
    except OSError as error:
        raise EdgeAgentError(f"cannot use the gateway's key {path}: {error.strerror}") from None
    except InvalidKeyError as error:
        raise EdgeAgentError(f"{path} is {error}; restore it from a backup, or remove it to make a new one") from None
    return key


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read, at no moment, and that is whole or not there."""
    partial = path.with_suffix(".part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


class NodeTokens:
    """Issues and checks nodes' tokens.

    Args:
        private_pem: the gateway's key.
        clock: seconds since the epoch.
    """

    def __init__(self, private_pem: bytes, clock: Callable[[], float]) -> None:
        self._private_pem = private_pem
        self._public_pem = identity.public_key_of(private_pem)
        self._key_id = hashlib.sha256(self._public_pem.encode()).hexdigest()[:16]
        self._clock = clock

    def issue(self, node_id: str, capabilities: Sequence[str]) -> str:
        """Return a fresh token."""
        return identity.issue_node_token(self._private_pem, self._key_id, node_id, capabilities, self._clock())

    def check(self, token: str) -> NodeClaims:
        """Return what a token says.

        Raises:
            InvalidTokenError: it proves nothing; the text says why, without quoting it.
        """
        return identity.check_node_token(token, self._public_pem, self._clock())

    def renewal(self, claims: NodeClaims) -> str | None:
        """Return a fresh token where the node's is to be renewed."""
        if identity.renewal_due(claims, self._clock()):
            return self.issue(claims.node_id, claims.capabilities)
        return None

"""Who is calling: submitters' tokens and nodes' tokens, and what proves a key.

Nodes carry a JWT that this gateway signed, submitters a random text of which the store keeps the SHA-256.  The wall
clock read here is the store's, because what it says is compared with times that this gateway wrote itself.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence

from edgeagent.gateway import challenges, sessions
from edgeagent.gateway.keyring import Keyring
from edgeagent.wire import identity
from edgeagent.wire.identity import InvalidTokenError, NodeClaims

ACCOUNT_TOKEN_PREFIX = "ea_"  # noqa: S105 -- says what kind of secret follows, and is none
JOIN_TOKEN_PREFIX = "ej_"  # noqa: S105 -- the same


def new_account_token() -> str:
    """Return a fresh token of 256 random bits."""
    return ACCOUNT_TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_join_token() -> str:
    """Return a fresh token that lets a node join; 256 random bits."""
    return JOIN_TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_sha256(token: str) -> str:
    """Return what is stored of such a token.  One round is enough: there is nothing to guess in 256 bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def bearer(header: str | None) -> str | None:
    """Return the token of an Authorization header."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class NodeTokens:
    """Issues and checks nodes' tokens.

    Args:
        keyring: the gateway's keys.
        clock: seconds since the epoch.
    """

    def __init__(self, keyring: Keyring, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.use(keyring)

    def use(self, keyring: Keyring) -> None:
        """Sign and check with these keys from now on."""
        self._keyring = keyring
        self.signer = identity.Signer(keyring.signing)

    def issue(self, node_id: str, capabilities: Sequence[str], epoch: int = 0) -> str:
        """Return a fresh token."""
        signing = self._keyring.signing
        return identity.issue_node_token(signing, self.signer.key_id, node_id, capabilities, self._clock(), epoch=epoch)

    def check(self, token: str) -> NodeClaims:
        """Return what a token says.

        Raises:
            InvalidTokenError: it proves nothing; the text says why, without quoting it.
        """
        now = self._clock()
        public_pem = self._keyring.checking(now).get(identity.token_key_id(token) or "")
        if public_pem is None:
            raise InvalidTokenError("the token is not valid: it was not signed with a key of this gateway")
        return identity.check_node_token(token, public_pem, now)

    def renewal(self, claims: NodeClaims) -> str | None:
        """Return a fresh token where the node's is to be renewed."""
        if identity.renewal_due(claims, self._clock()):
            return self.issue(claims.node_id, claims.capabilities, claims.epoch)
        return None

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys that check tokens now, as a JSON Web Key Set (RFC 7517)."""
        return {"keys": [identity.jwk(pem) for pem in self._keyring.checking(self._clock()).values()]}

    def begin_session(self, account_token_sha256: str, random: bytes) -> str:
        """Return the cookie of the owner's session in a browser, begun with this token."""
        return sessions.begin(self._keyring.signing, account_token_sha256, self._clock(), random)

    def resume_session(self, cookie: str) -> sessions.Session | None:
        """Return the owner's session of a cookie; None for one that is none, or has ended."""
        return sessions.resume(self._keyring.signing, cookie, self._clock())

    def challenge(self, public_key: str) -> challenges.Challenge:
        """Return a fresh challenge for whoever says that this key is theirs."""
        return challenges.make(self._keyring.signing, public_key, self._clock(), secrets.token_bytes)

    def challenged(self, public_key: str, challenge: str) -> challenges.Challenge | None:
        """Return the challenge if it is ours, for this key and still good; else None."""
        return challenges.check(self._keyring.signing, public_key, challenge, self._clock())

    def proves(self, public_key: str, challenge: str, signature: str) -> challenges.Challenge | None:
        """Return the challenge if it is ours, for this key, still good and signed with it; else None."""
        found = self.challenged(public_key, challenge)
        signed = found is not None and identity.verify(public_key, challenge.encode(), signature)
        return found if signed else None

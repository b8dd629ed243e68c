"""Who is who: Ed25519 keys, the proofs they sign, and the node's token.

Tokens are EdDSA JWTs that the gateway signs; the claims are RenderTrust's (``sub``, ``token_type``, ``capabilities``,
``jti``) and an ``epoch``, which the gateway raises to make all of a node's earlier tokens void, whatever any clock
says.  The header's ``kid`` names the gateway's key, so that it can be replaced while its tokens live on.  Only a
gateway makes and checks tokens, so ``jwt``, with all that it brings along, is imported there: an idle node is small.

Nothing here reads a clock or a file: ``now`` is seconds since the epoch on the clock of whoever checks, which for
tokens is always the gateway's own.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgeagent import chance
from edgeagent.wire.curve import unusable

#: Life of a node's token in seconds; RenderTrust's 24 h.
TOKEN_LIFE_S = 24 * 3600.0
_ALGORITHM = "EdDSA"


class InvalidKeyError(ValueError):
    """Not an Ed25519 key in PEM."""


class InvalidTokenError(ValueError):
    """A token that proves nothing; the text says why, without quoting it."""


@attrs.frozen(kw_only=True)
class NodeClaims:
    """What a node's token says.  Times are seconds since the epoch on the gateway's clock.

    Another maker's gateway may leave out when the token was issued, its number, and the epoch.
    """

    node_id: str
    capabilities: tuple[str, ...]
    expires_at: float
    issued_at: float | None = None
    token_id: str | None = None  # jti
    epoch: int = 0


def new_private_key() -> bytes:
    """Return a fresh Ed25519 private key as unencrypted PKCS#8 PEM."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key_of(private_pem: bytes) -> str:
    """Return the public key of a private key, as SPKI PEM.

    Raises:
        InvalidKeyError: not an Ed25519 private key.
    """
    return (
        _private(private_pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def normalise_public_key(public_pem: str) -> str:
    """Return the one way to write this public key, so that equal keys are equal texts.

    Raises:
        InvalidKeyError: not an Ed25519 public key, or one that proves nothing; says why.
    """
    key = _public(public_pem)
    why = unusable(key.public_bytes_raw())
    if why is not None:
        raise InvalidKeyError(f"not a usable Ed25519 public key: {why}")
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(public_pem: str) -> dict[str, str]:
    """Return a public key as a JSON Web Key (RFC 8037) with its ``kid``.

    Raises:
        InvalidKeyError: not an Ed25519 public key.
    """
    x = base64.urlsafe_b64encode(_public(public_pem).public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": _thumbprint(x), "use": "sig", "alg": _ALGORITHM}


def from_jwk(key: Mapping[str, object]) -> str:
    """Return the public key of a JSON Web Key (RFC 8037) as SPKI PEM; what it says of its ``kid`` is not believed.

    Raises:
        InvalidKeyError: not a usable Ed25519 public key.
    """
    x = key.get("x")
    if key.get("kty") != "OKP" or key.get("crv") != "Ed25519" or not isinstance(x, str):
        raise InvalidKeyError("not an Ed25519 key")
    try:
        raw = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "=" * (-len(x) % 4)))
    except ValueError:
        raise InvalidKeyError("not an Ed25519 public key") from None
    pem = raw.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return normalise_public_key(pem.decode())


def key_id(public_pem: str) -> str:
    """Return a public key's ``kid``: its thumbprint (RFC 7638).

    Raises:
        InvalidKeyError: not an Ed25519 public key.
    """
    return jwk(public_pem)["kid"]


def _thumbprint(x: str) -> str:
    members = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()


def replacement_proof(node_id: str, new_public_pem: str) -> bytes:
    """Return the bytes an old key signs to hand its node over to a new key.

    Binding both means that the signature is good for this one change only: afterwards the old key is nobody's.
    """
    return b"edgeagent/replace-key/1\n" + node_id.encode() + b"\n" + normalise_public_key(new_public_pem).encode()


def sign(private_pem: bytes, message: bytes) -> str:
    """Return the Ed25519 signature of ``message`` in hex.

    Raises:
        InvalidKeyError: not an Ed25519 private key.
    """
    return _private(private_pem).sign(message).hex()


class Signer:
    """Signs many things with one key, which is read only once; ``key_id`` is the key's ``kid``.

    Raises:
        InvalidKeyError: not an Ed25519 private key.
    """

    def __init__(self, private_pem: bytes) -> None:
        self._key = _private(private_pem)
        self.public_pem = public_key_of(private_pem)
        self.key_id = key_id(self.public_pem)

    def sign(self, message: bytes) -> str:
        """Return the Ed25519 signature of ``message`` in hex."""
        return self._key.sign(message).hex()


def verify(public_pem: str, message: bytes, signature_hex: str) -> bool:
    """Return whether ``signature_hex`` is this key's signature of ``message``; garbage is simply False."""
    try:
        _public(public_pem).verify(bytes.fromhex(signature_hex), message)
    except (InvalidSignature, InvalidKeyError, ValueError):
        return False
    return True


def issue_node_token(
    gateway_private_pem: bytes, key_id: str, node_id: str, capabilities: Sequence[str], now: float, *, epoch: int = 0
) -> str:
    """Return a node's token, good for ``TOKEN_LIFE_S`` from ``now``."""
    claims = {
        "sub": node_id,
        "token_type": "node",
        "capabilities": list(capabilities),
        "epoch": epoch,
        "iat": int(now),
        "exp": int(now + TOKEN_LIFE_S),
        "jti": chance.new_id(),
    }
    import jwt

    return jwt.encode(claims, _private(gateway_private_pem), algorithm=_ALGORITHM, headers={"kid": key_id})


def check_node_token(token: str, gateway_public_pem: str, now: float) -> NodeClaims:
    """Return what a token says, once the gateway's own signature and the time are checked.

    Raises:
        InvalidTokenError: forged, expired, of another kind, or not a token.
    """
    import jwt

    try:
        claims = jwt.decode(
            token,
            _public(gateway_public_pem),
            algorithms=[_ALGORITHM],
            options={
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "require": ["sub", "exp", "iat", "jti"],
            },
        )
    except jwt.InvalidTokenError as error:
        raise InvalidTokenError(f"the token is not valid: {error}") from None
    if claims.get("token_type") != "node":
        raise InvalidTokenError("the token is not a node's token")
    node = _claims(claims)
    if node.expires_at <= now:
        raise InvalidTokenError("the token has expired")
    return node


def token_key_id(token: str) -> str | None:
    """Return the ``kid`` of the key that a token says it was signed with; None where it says nothing of the kind.

    Raises:
        InvalidTokenError: not a token at all.
    """
    import jwt

    try:
        found = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError as error:
        raise InvalidTokenError(f"the token is not valid: {error}") from None
    return found if isinstance(found, str) else None


def read_node_token(token: str) -> NodeClaims:
    """Return what a token says without checking who signed it: for the node that was given it.

    Raises:
        InvalidTokenError: not a token at all.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidTokenError("not a token: it is not three parts with points between them")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise InvalidTokenError("not a token: its middle part is no JSON object in base64")
    return _claims(claims)


def renewal_due(claims: NodeClaims, now: float) -> bool:
    """Return whether less than half of the token's life is left, which leaves half a day for the renewal to arrive."""
    return claims.expires_at - now < TOKEN_LIFE_S / 2


def _claims(claims: dict[str, object]) -> NodeClaims:
    node_id, expires_at, capabilities = claims.get("sub"), claims.get("exp"), claims.get("capabilities", [])
    issued_at, token_id, epoch = claims.get("iat"), claims.get("jti"), claims.get("epoch", 0)
    if not isinstance(node_id, str) or not node_id:
        raise InvalidTokenError("the token names no node")
    if isinstance(expires_at, bool) or not isinstance(expires_at, int | float):
        raise InvalidTokenError("the token does not say when it expires")
    if not isinstance(capabilities, list) or not all(isinstance(one, str) for one in capabilities):
        raise InvalidTokenError("the token's capabilities are not a list of names")
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float | None):
        raise InvalidTokenError("the token does not say when it was issued")
    if not isinstance(token_id, str | None) or type(epoch) is not int:
        raise InvalidTokenError("the token's number or epoch is none")
    return NodeClaims(
        node_id=node_id,
        capabilities=tuple(capabilities),
        expires_at=float(expires_at),
        issued_at=None if issued_at is None else float(issued_at),
        token_id=token_id,
        epoch=epoch,
    )


def _private(pem: bytes) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidKeyError("not an unencrypted private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidKeyError("not an Ed25519 private key")
    return key


@functools.lru_cache(maxsize=4096)  # reading one takes a fifth of checking a signature with it
def _public(pem: str) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKeyError("not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidKeyError("not an Ed25519 public key")
    return key

"""Keys and tokens: only the right key proves anything."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.wire import identity

KEY, OTHER = identity.new_private_key(), identity.new_private_key()
PUBLIC = identity.public_key_of(KEY)
NOW = 1_800_000_000.0


def token(without: str = "", **claims: object) -> str:
    """Return a token with these claims, signed by KEY."""
    every = {"sub": "n1", "token_type": "node", "exp": NOW + 60, "iat": NOW, "jti": "1", **claims}
    every.pop(without, None)
    return jwt.encode(every, KEY, algorithm="EdDSA")


def test_a_token_says_who_and_what() -> None:
    """A token issued for a node carries its id, its capabilities and a day of life."""
    issued = identity.issue_node_token(KEY, "k1", "n1", ["render"], NOW)

    claims = identity.check_node_token(issued, PUBLIC, NOW + 1)

    assert claims == identity.NodeClaims(
        node_id="n1", capabilities=("render",), expires_at=NOW + 86400, issued_at=NOW, token_id=claims.token_id, epoch=0
    )
    assert claims.token_id
    assert jwt.get_unverified_header(issued)["kid"] == "k1"


def test_a_token_ends() -> None:
    """At its last second the token is no longer good; only the caller's ``now`` counts."""
    issued = identity.issue_node_token(KEY, "k1", "n1", [], NOW)

    identity.check_node_token(issued, PUBLIC, NOW + 86399)
    with pytest.raises(identity.InvalidTokenError, match="expired"):
        identity.check_node_token(issued, PUBLIC, NOW + 86400)


def unsigned() -> str:
    """Return a token of algorithm none."""
    parts = [{"alg": "none", "typ": "JWT"}, {"sub": "n1", "token_type": "node", "exp": NOW + 60}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts) + "."


@pytest.mark.parametrize(
    "forged",
    [
        identity.issue_node_token(OTHER, "k1", "n1", [], NOW),
        unsigned(),
        jwt.encode({"sub": "n1", "token_type": "node", "exp": NOW + 60}, "x" * 32, algorithm="HS256"),
        token(token_type="user"),
        token(sub=""),
        token(sub=None),
        token(exp="tomorrow"),
        token(capabilities=[1]),
        token(without="iat"),
        token(without="jti"),
        token(without="exp"),
        "not a token",
        "",
    ],
    ids=[
        "other key",
        "alg none",
        "alg HS256",
        "other type",
        "no name",
        "null name",
        "odd end",
        "odd list",
        "no beginning",
        "no number",
        "no end",
        "text",
        "nil",
    ],
)
def test_what_the_gateway_did_not_sign_is_refused(forged: str) -> None:
    """Forged and malformed tokens raise InvalidTokenError, which never quotes the token."""
    with pytest.raises(identity.InvalidTokenError) as caught:
        identity.check_node_token(forged, PUBLIC, NOW)

    assert not forged or forged not in str(caught.value)


@given(st.text())
def test_any_text_is_only_ever_an_invalid_token(text: str) -> None:
    """Reading a token can fail in one way only."""
    with pytest.raises(identity.InvalidTokenError):
        identity.read_node_token(text)


@pytest.mark.parametrize(("left_s", "due"), [(86400, False), (43200, False), (43199, True), (-5, True)])
def test_a_token_is_renewed_at_half_its_life(left_s: float, due: bool) -> None:
    """Less than half a day left: time for a fresh one."""
    claims = identity.NodeClaims(node_id="n1", capabilities=(), expires_at=NOW + left_s)

    assert identity.renewal_due(claims, NOW) is due


def test_a_replacement_is_signed_for_one_new_key_only() -> None:
    """A proof for one node and one new key is no proof for another."""
    new, third = identity.public_key_of(OTHER), identity.public_key_of(identity.new_private_key())
    signature = identity.sign(KEY, identity.replacement_proof("n1", new))

    assert identity.verify(PUBLIC, identity.replacement_proof("n1", new), signature)
    assert not identity.verify(PUBLIC, identity.replacement_proof("n2", new), signature)
    assert not identity.verify(PUBLIC, identity.replacement_proof("n1", third), signature)
    assert not identity.verify(new, identity.replacement_proof("n1", new), signature)


@given(st.text())
def test_a_garbage_signature_is_false(signature: str) -> None:
    """Verifying never raises."""
    assert not identity.verify(PUBLIC, b"message", signature)


@pytest.mark.parametrize("pem", ["", "hello", PUBLIC.replace("MCow", "MCox"), KEY.decode()])
def test_what_is_no_public_key_is_refused(pem: str) -> None:
    """Keys are checked before they are stored."""
    with pytest.raises(identity.InvalidKeyError):
        identity.normalise_public_key(pem)


def test_equal_keys_are_equal_texts() -> None:
    """White space around a PEM does not make it another key."""
    assert identity.normalise_public_key("\n" + PUBLIC.replace("\n", "\r\n") + "\n\n") == PUBLIC

"""The gateway's key and the two kinds of token."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from edgeagent.errors import EdgeAgentError
from edgeagent.gateway import auth, keyring
from edgeagent.gateway.auth import NodeTokens
from edgeagent.gateway.keyring import Keyring
from edgeagent.wire import identity
from edgeagent.wire.identity import TOKEN_LIFE_S, InvalidTokenError


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    """A restarted gateway has the same key, or every node would have to register again."""
    keys = keyring.load(tmp_path)

    assert (tmp_path / "gateway_key.pem").stat().st_mode & 0o777 == 0o600
    assert keyring.load(tmp_path) == keys


def test_a_damaged_key_is_one_line(tmp_path: Path) -> None:
    """It is not replaced silently."""
    path = tmp_path / "gateway_key.pem"
    path.write_text("damaged")

    with pytest.raises(EdgeAgentError, match="restore it from a backup"):
        keyring.load(tmp_path)
    assert path.read_text() == "damaged"


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("abc", None),
        ("", None),
        (None, None),
    ],
)
def test_a_bearer_token_is_read_from_its_header(header: str | None, token: str | None) -> None:
    """Anything else is no token."""
    assert auth.bearer(header) == token


def test_account_tokens_differ_and_so_do_their_hashes() -> None:
    """256 random bits each."""
    tokens = {auth.new_account_token() for _ in range(100)}

    assert len(tokens) == len({auth.token_sha256(token) for token in tokens}) == 100


def test_a_node_token_says_who_and_expires() -> None:
    """The gateway that issued it accepts it for a day."""
    now = 1e9
    tokens = NodeTokens(Keyring(identity.new_private_key()), lambda: now)
    token = tokens.issue("node", ["echo"])

    claims = tokens.check(token)
    assert (claims.node_id, claims.capabilities) == ("node", ("echo",))
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    assert jwt.get_unverified_header(token)["kid"]
    now += TOKEN_LIFE_S
    with pytest.raises(InvalidTokenError, match="expired"):
        tokens.check(token)


def test_another_gateways_token_is_refused() -> None:
    """Keys are not shared."""
    mine, other = (NodeTokens(Keyring(identity.new_private_key()), lambda: 1e9) for _ in range(2))

    with pytest.raises(InvalidTokenError):
        mine.check(other.issue("node", []))


def test_a_token_is_renewed_in_the_second_half_of_its_life() -> None:
    """Not before, and then with the same claims."""
    now = 1e9
    tokens = NodeTokens(Keyring(identity.new_private_key()), lambda: now)
    claims = tokens.check(tokens.issue("node", ["echo"]))
    assert tokens.renewal(claims) is None

    now += TOKEN_LIFE_S / 2 + 1
    renewed = tokens.renewal(claims)

    assert renewed is not None
    assert tokens.check(renewed).capabilities == ("echo",)
    assert tokens.check(renewed).expires_at == now + TOKEN_LIFE_S

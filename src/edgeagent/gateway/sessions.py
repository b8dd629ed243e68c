"""The owner's session in a browser: a signed cookie, and a word that forms carry.  Pure: time is an argument.

A session stands for the admin token that it was begun with and ends with it, since that is looked up at each request;
the cookie holds only the token's hash.  It is signed with the gateway's key, so nothing is stored, and replacing that
key ends every session.
"""

from __future__ import annotations

import hashlib
import hmac
import re

import attrs

#: Seconds after which the owner has to log in again: a working day.
LIFE_S = 8 * 3600.0
COOKIE = "edgeagent_owner"

_COOKIE_TEXT = re.compile(r"([0-9a-f]{64})\.([0-9]{1,15})\.([0-9a-f]{32})\.([0-9a-f]{64})")


@attrs.frozen
class Session:
    """Who is logged in: the hash of the token, and what forms must carry so that no other site can send them."""

    token_sha256: str
    form_word: str


def begin(secret: bytes, token_sha256: str, now: float, random: bytes) -> str:
    """Return a cookie's value.

    Args:
        secret: the gateway's alone.
        token_sha256: in hex, of a token that was checked.
        now: seconds since the epoch.
        random: 16 bytes that nobody can guess.
    """
    body = f"{token_sha256}.{int(now)}.{random.hex()}"
    return f"{body}.{_mac(secret, 'session', body)}"


def resume(secret: bytes, cookie: str, now: float) -> Session | None:
    """Return the session that a cookie stands for; None for one that this gateway did not make, or that has ended."""
    match = _COOKIE_TEXT.fullmatch(cookie)
    if match is None:
        return None
    body = cookie.rpartition(".")[0]
    if not hmac.compare_digest(match[4], _mac(secret, "session", body)):
        return None
    # One from the future was made before the clock was set back: nobody can say how old it is.
    if not int(match[2]) - 1 <= now < int(match[2]) + LIFE_S:
        return None
    return Session(match[1], _mac(secret, "form", body))


def is_own_form(session: Session, word: str) -> bool:
    """Return whether a form came from a page of this session's."""
    return hmac.compare_digest(session.form_word.encode(), word.encode("utf-8", "surrogatepass"))


def _mac(secret: bytes, purpose: str, body: str) -> str:
    message = f"edgeagent/owner-{purpose}/1\n{body}".encode()
    return hmac.digest(secret, message, hashlib.sha256).hex()

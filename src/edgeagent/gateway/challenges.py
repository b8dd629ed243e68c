"""Challenges that a node signs to prove that a key is its own.  Pure: time and randomness are arguments.

A challenge carries its own proof (when it was made, a random part, and a keyed hash over both and the public key), so
the gateway keeps nothing for one that nobody answers, and any replica can check what another one made.  That each is
good once is the store's to see to: it remembers the few that were signed, for as long as they are good.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import attrs

from edgeagent.wire.identity import InvalidKeyError, normalise_public_key

#: Seconds that a challenge is good for: a few round trips, and a slow hand on a terminal.
LIFE_S = 120.0
_TIME_BYTES, _RANDOM_BYTES, _MAC_BYTES = 8, 8, 16
_HEX = 2 * (_TIME_BYTES + _RANDOM_BYTES + _MAC_BYTES)


@attrs.frozen
class Challenge:
    """64 hex digits to sign, and until when, in seconds since the epoch on the gateway's clock."""

    text: str
    until: float


def make(secret: bytes, public_key: str, now: float, random: Callable[[int], bytes]) -> Challenge:
    """Return a challenge for this key.

    Args:
        secret: the gateway's alone.
        public_key: as ``normalise_public_key`` writes it.
        random: returns that many random bytes.
    """
    body = int(now * 1000).to_bytes(_TIME_BYTES, "big", signed=True) + random(_RANDOM_BYTES)
    return Challenge((body + _mac(secret, public_key, body)).hex(), now + LIFE_S)


def check(secret: bytes, public_key: str, text: str, now: float) -> Challenge | None:
    """Return a challenge that this gateway made for this key, and that is still good; None for any other text."""
    if len(text) != _HEX or text != text.lower():
        return None
    try:
        raw = bytes.fromhex(text)
        normal = normalise_public_key(public_key)
    except (ValueError, InvalidKeyError):
        return None
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(secret, normal, body)):
        return None
    made = int.from_bytes(body[:_TIME_BYTES], "big", signed=True) / 1000
    # One from the future was made before the clock was set back: nobody can say how old it is.
    if not made - 1 <= now < made + LIFE_S:
        return None
    return Challenge(text, made + LIFE_S)


def _mac(secret: bytes, public_key: str, body: bytes) -> bytes:
    message = b"edgeagent/challenge/1\n" + public_key.encode() + b"\n" + body
    return hmac.digest(secret, message, hashlib.sha256)[:_MAC_BYTES]

"""Takes secrets out of a text that is meant for somebody else.  Pure.

Two nets: what is known to be secret here, wherever it stands, and whatever looks like a key or token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

REMOVED = "(removed)"
#: Known values shorter than this are words rather than secrets.
_SHORTEST = 8
_PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\beyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*){1,2}"),  # a JWT
    re.compile(r"\bea_[A-Za-z0-9_-]{8,}"),  # a submitter's token
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # name and password in an address
    re.compile(
        r"""(?ix) (?<= [?&"'\s] ) (?: x-amz-signature | x-amz-credential | token | secret | password | signature )
            ["']? \s* [=:] \s* (?: "[^"]*" | '[^']*' | [^\s"'&,]+ )"""
    ),
    re.compile(r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]+"),
)


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Return ``text`` with every secret in it replaced.

    Args:
        known: secrets of this machine; of one with several lines, each line is one.
    """
    lines = {line.strip() for secret in known for line in secret.splitlines()}
    for secret in sorted((one for one in lines if len(one) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(secret, REMOVED)
    for pattern in _PATTERNS:
        text = pattern.sub(REMOVED, text)
    return text

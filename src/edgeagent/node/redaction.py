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
    re.compile(r"(?<=://)[^/\s\"']+(?=@)"),  # name and password in an address, or a token in their place
    re.compile(r"(?i)(?<=://)(?:hooks\.[^\s\"']+|[^/\s\"']+/(?:api/)?webhooks?/[^\s\"']+)"),  # who knows it may call it
    # Keys of Amazon's, GitHub's and Slack's, by how they begin.
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[a-z]_[A-Za-z0-9]{20,}|\bxox[a-z]-[A-Za-z0-9-]{10,}"),
    re.compile(  # a named value; words may stand between a colon and what follows, but no value comes after a blank
        r"""(?ix) (?<![A-Za-z0-9]) (?: [\w-]* [_-] )?
            (?: token | jwt | secret | passw(?:or)?d | credentials? | signature |
                api[_-]?key | access[_-]?key(?:[_-]?id)? )
            (?: \\*["']\s*[=:]\s* | \s*=\s* | :(?=\S) | :\s*(?=\\*["']) )
            (?: \\*"[^"\\]* | \\*'[^'\\]* | [^\s"'&,(\\]+ )"""  # quotes in JSON in JSON come with backslashes
    ),
    re.compile(r"(?i)\b(?:bearer|authorization\W+basic)\s+[A-Za-z0-9._~+/=-]+"),
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

"""The token that came after the one in the environment.

A container is started with the same ``NODE_JWT`` for ever, and a token is good for a day.  What the gateway has given
since is kept in the home, beside a digest of the variable's value: while the variable stays as it was, the newer token
is used in its place; another value is somebody's new word, and wins.  Read by ``node.config``, written by
``node.credentials``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from edgeagent.node import files

#: In the home; 0600, because it holds a token.
FILE = "renewed_token.json"


def read(home: Path, given: str) -> str | None:
    """Return the token that came after ``given``; None where nothing usable is kept, since ``given`` may still do."""
    try:
        document = json.loads((home / FILE).read_bytes())
        if document["given_sha256"] == _digest(given):
            return str(document["jwt_token"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return None


def keep(home: Path, given: str, fresh: str) -> None:
    """Put ``fresh`` in the place of ``given``, or of what came after it before.

    Raises:
        OSError: it cannot be written.
    """
    document = {"given_sha256": _digest(given), "jwt_token": fresh}
    files.write(home / FILE, (json.dumps(document, indent=2) + "\n").encode(), 0o600)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

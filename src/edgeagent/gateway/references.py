"""References to payloads and inputs: which kinds there are, and what may be one.  Pure.

The gateway never fetches what a reference points to elsewhere: a submitter could have it look into the gateway's own
network.  The node does, within the job's limits.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

#: Longest reference, in characters (RenderTrust's own limit for ``payload_ref``).
MAX_REF = 500
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def kind_of(ref: str) -> str:
    """Return what a node must be able to fetch for this reference: ``blob``, ``https`` or ``s3``."""
    scheme = ref.partition(":")[0]
    return "blob" if scheme == "sha256" else scheme


def digest_of(ref: str) -> str | None:
    """Return the digest that a reference to a file of the gateway's is; None for a reference to elsewhere."""
    return ref.removeprefix("sha256:") if _SHA256.fullmatch(ref) else None


def check(ref: str) -> None:
    """Refuse what is not a reference.

    Raises:
        ValueError: says in one line what one looks like.
    """
    if not 1 <= len(ref) <= MAX_REF or not ref.isprintable() or " " in ref:
        raise ValueError(f"a reference has 1 to {MAX_REF} printable characters and no space")
    if _SHA256.fullmatch(ref):
        return
    try:
        url = urlsplit(ref)
        host, user = url.hostname, url.username
        _ = url.port  # raises where it is none
    except ValueError:
        raise ValueError("that is not a URL") from None
    if user is not None:
        raise ValueError("a reference carries no user name or password: it is stored, and shown to the node")
    if url.scheme == "https" and host:
        return
    if url.scheme == "s3" and _BUCKET.fullmatch(url.netloc) and len(url.path) > 1:
        return
    raise ValueError("a reference is sha256:DIGEST (a file on this gateway), https://HOST/... or s3://BUCKET/KEY")

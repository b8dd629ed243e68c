"""HTTP clients for addresses without TLS.

An ordinary one reads the machine's certificate authorities when it is made, which takes more processor time than most
tests do otherwise: 0.06 s with Debian's OpenSSL, for each.
"""

from __future__ import annotations

import ssl
from typing import Any

import httpx2

#: Trusts no authority, so that what is asked for over TLS all the same fails.
NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client(**options: Any) -> httpx2.AsyncClient:
    """Return a client with these options of httpx2's."""
    return httpx2.AsyncClient(**{"verify": NOBODY, **options})

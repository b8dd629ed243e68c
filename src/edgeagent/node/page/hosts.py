"""Whether a request names this server as its owner would: a guard against DNS rebinding.  Pure.

A page of a stranger's can have a name of its own lead to 127.0.0.1 and then read what answers there, as far as the
browser is concerned from the stranger's own site.  The ``Host`` it sends gives it away: it holds that name.  An address
cannot be led anywhere, so addresses are always good.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

#: ``name``, ``name:port``, ``[address]:port``.
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/@\s]+))(?::[0-9]{1,5})?")


def is_ours(host: str, names: Collection[str] = ()) -> bool:
    """Say whether ``host``, a request's header, is an address, ``localhost``, or one of the owner's ``names``."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    if match["six"] is not None:
        return _is_address(match["six"])
    name = match["name"].lower().removesuffix(".")
    return name == "localhost" or _is_address(name) or name in {one.lower() for one in names}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

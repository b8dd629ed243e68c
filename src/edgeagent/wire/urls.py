"""Where a gateway is: the one address an operator types, and the addresses that follow from it.

The guide writes ``https://host`` when registering and ``wss://host/api/v1`` when running; all such forms of one
gateway are equal here.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import attrs

API_PREFIX = "/api/v1"
#: Names and IPv4 addresses (RFC 1123); what a resolver or a socket would refuse later, and less clearly.
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(\.{_LABEL})*\.?", re.IGNORECASE)
_SECURE = {"https": True, "wss": True, "http": False, "ws": False}


@attrs.frozen
class GatewayUrl:
    """A gateway's address without scheme: ``authority`` is host and port, ``path`` what a proxy puts in front."""

    secure: bool
    authority: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> GatewayUrl:
        """Return the gateway that ``text`` names.

        Raises:
            ValueError: not an ``http(s)`` or ``ws(s)`` address of a host.
        """
        example = "write for example https://gateway.example.com"
        try:
            parts = urlsplit(text.strip())
            port, host = parts.port, parts.hostname
        except ValueError as error:
            raise ValueError(f"{text!r} is not an address ({error}); {example}") from None
        if parts.scheme not in _SECURE or not host:
            raise ValueError(f"{text!r} is not a gateway's address; {example}")
        if ":" not in host and not _HOST.fullmatch(host):
            raise ValueError(f"{text!r} names no host: {host!r} is none; {example}")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(f"{text!r} holds more than a host and a path; {example}")
        authority = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
        return cls(_SECURE[parts.scheme], authority, parts.path.rstrip("/").removesuffix(API_PREFIX).rstrip("/"))

    def __str__(self) -> str:
        """The address as an operator would type it."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.path}"

    @property
    def rest(self) -> str:
        """Base of the REST API, without a slash at the end."""
        return f"{self}{API_PREFIX}"

    def relay(self, node_id: str) -> str:
        """Return the address of a node's link."""
        scheme = "wss" if self.secure else "ws"
        return f"{scheme}://{self.authority}{self.path}{API_PREFIX}/relay/ws/{quote(node_id, safe='')}"

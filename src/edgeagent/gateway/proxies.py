"""Who a request comes from when proxies stand in front, and whether it came to them over TLS.  Pure.

Each proxy appends the address that it was called from to ``X-Forwarded-For``, so the list is true from the right, as
far as those who wrote it are trusted: the client is the right-most address that is no trusted proxy's.  What stands
left of it, the client may have made up.  ``Forwarded`` is not read: a proxy that writes one of the two headers passes
on the other as the client sent it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_of(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address of whoever is behind the trusted proxies.

    Args:
        peer: the address that the connection comes from.
        forwarded_for: the values of all ``X-Forwarded-For`` headers, in order.
        trusted: the networks of the proxies whose word counts.

    Returns:
        The client's address; the left-most one where all are trusted, and that of the proxy which forwarded something
        that is no address.  An IPv4 address is written as such, also where IPv6 carried it.
    """
    nearest = _address(peer)
    if nearest is None:
        return peer
    hops = ",".join(forwarded_for).split(",")
    while hops and any(nearest in network for network in trusted):
        further = _address(hops.pop().strip())
        if further is None:
            break
        nearest = further
    return str(nearest)


def scheme_of(peer: str, forwarded_proto: Sequence[str], trusted: Sequence[Network], own: str) -> str:
    """Return the scheme of the address that the client asked: ``http`` or ``https``.

    Args:
        peer: the address that the connection comes from.
        forwarded_proto: the values of all ``X-Forwarded-Proto`` headers, in order; the first is of the proxy that the
            client spoke to. It replaces what the client sent, as proxies do that write this header at all.
        trusted: the networks of the proxies whose word counts.
        own: the scheme of the connection itself, where no trusted proxy says another.
    """
    if not is_trusted(peer, trusted):
        return own
    said = ",".join(forwarded_proto).split(",")[0].strip().lower()
    return said if said in {"http", "https"} else own


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Return whether an address is a trusted proxy's."""
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _address(text: str) -> Address | None:
    """Return the address that a proxy wrote, some of them with a port."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address

"""Which addresses a stranger's reference may lead to: those of the public internet, and no others.  Pure.

An operator's own network, this machine and the services that clouds put at special addresses would all answer a
stranger's question with the operator's rights.  Addresses that carry another one in them are judged by that, too.
"""

from __future__ import annotations

import ipaddress

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Prefixes whose addresses lead to the IPv4 address in their last 32 bits (RFC 6052, RFC 4291).
_CARRIERS = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0/96")))
#: Not public whatever the interpreter's table says: it has changed between releases of Python.
_CLOSED = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("::/128", "::1/128", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16"),
            *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
        ),
    )
)


def is_public(text: str) -> bool:
    """Return whether an address, as a name lookup gives it, is one of the public internet."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # the zone of a link-local one
    except ValueError:
        return False
    return all(_is_public(each) for each in (address, *_carried(address)))


def is_address(host: str) -> bool:
    """Return whether a URL's host is an address and no name."""
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def _is_public(address: _Address) -> bool:
    return address.is_global and not any(address in each for each in _CLOSED if each.version == address.version)


def _carried(address: _Address) -> tuple[_Address, ...]:
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    carried: list[_Address] = []
    if address.sixtofour is not None:
        carried.append(address.sixtofour)
    if address.teredo is not None:
        carried += address.teredo
    if any(address in each for each in _CARRIERS):
        carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(carried)

"""Which addresses are of the public internet."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.node.fetch.addresses import is_address, is_public


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.31.255.255"),
        *("192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.19.0.1", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("100::1", "3fff::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"),
        *("64:ff9b:1::a00:1", "2002:7f00:1::", "2002:c0a8:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        *("", "localhost", "1.2.3", "example.com", "8.8.8.8/32", "0x7f000001"),
    ],
)
def test_what_is_not_public_is_closed(address):
    """This machine, the operator's network, the clouds' own services, and addresses that lead there in disguise."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "2a00:1450:4001:80e::200e"])
def test_what_is_public_is_open(address):
    """Of both kinds."""
    assert is_public(address)


@given(st.integers(0, 0xFFFFFFFF).map(ipaddress.IPv4Address))
def test_no_disguise_opens_an_address(address):
    """What is closed stays so mapped, compatible, translated or tunnelled."""
    number = int(address)
    disguises = [
        f"::ffff:{address}",
        f"::{address}" if number > 0xFFFF else "::",
        str(ipaddress.IPv6Address((0x64FF9B << 96) | number)),
        str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1)),
    ]

    if not is_public(str(address)):
        assert not [each for each in disguises if is_public(each)]


@given(st.integers(0, 0xFFFFFFFF).map(ipaddress.IPv4Address))
def test_nothing_private_is_public(address):
    """By the interpreter's own table, too."""
    assert not (is_public(str(address)) and (address.is_private or address.is_multicast or address.is_reserved))


@pytest.mark.parametrize(("host", "is_one"), [("127.0.0.1", True), ("[::1]", True), ("a.example", False)])
def test_an_address_is_told_from_a_name(host, is_one):
    """As URLs write them."""
    assert is_one == is_address(host)

"""One gateway, however its address is written."""

from __future__ import annotations

import pytest

from edgeagent.wire.urls import GatewayUrl


@pytest.mark.parametrize(
    "text",
    [
        "https://gateway.example.com",
        "https://gateway.example.com/",
        "wss://gateway.example.com/api/v1",
        "https://GATEWAY.example.com/api/v1/",
        " https://gateway.example.com ",
    ],
)
def test_the_guides_forms_are_one_gateway(text: str) -> None:
    """Registering writes https, running writes wss with the API's path: both name the same gateway."""
    gateway = GatewayUrl.parse(text)

    assert str(gateway) == "https://gateway.example.com"
    assert gateway.rest == "https://gateway.example.com/api/v1"
    assert gateway.relay("n 1/2") == "wss://gateway.example.com/api/v1/relay/ws/n%201%2F2"


def test_plain_addresses_keep_port_and_path() -> None:
    """A gateway behind a proxy's path, on its own port, without TLS, over IPv6."""
    gateway = GatewayUrl.parse("ws://[::1]:8080/edge")

    assert gateway.rest == "http://[::1]:8080/edge/api/v1"
    assert gateway.relay("n") == "ws://[::1]:8080/edge/api/v1/relay/ws/n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gateway.example.com",
        "ftp://x",
        "https://",
        "https://x:99999",
        "https://u:p@x",
        "https://x?token=1",
        "http://[x",
        "http://a..b",
        "http://.a",
        "http://-a.b",
        "http://a b",
        "http://a;b",
        "http://" + "a" * 64,
        "http://" + "a." * 130,
    ],
)
def test_what_names_no_gateway_is_refused_with_an_example(text: str) -> None:
    """The error shows what an address looks like."""
    with pytest.raises(ValueError, match=r"write for example https://gateway\.example\.com"):
        GatewayUrl.parse(text)

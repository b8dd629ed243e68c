"""The owner's cookie: for this site's forms alone, for no script, and over TLS only where the owner came over TLS."""

from __future__ import annotations

import ipaddress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from certificates import make
from scripted import on_a_port

from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.proxies import scheme_of
from edgeagent.gateway.scopes import Scope

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
ELSEWHERE = (ipaddress.ip_network("10.0.0.0/8"),)


async def attributes(data_dir: Path, headers: dict[str, str], **settings: Any) -> set[str]:
    """Log in, and return what is said of the cookie, in small letters."""
    async with on_a_port(data_dir, **settings) as gateway:
        if "tls" in settings:
            gateway.trust = settings["tls"].trust()
        create = partial(create_token, scopes=frozenset({Scope.ADMIN}))
        token = await trio.to_thread.run_sync(create, data_dir, "the owner", 0)
        async with gateway.http(prefix="") as http:
            answer = await http.post("/owner/login", data={"token": token}, headers=headers)
    assert answer.status_code == 303
    return {one.strip().lower() for one in answer.headers["set-cookie"].split(";")[1:]}


@pytest.mark.parametrize(
    ("said", "trusted", "secure"),
    [
        ("https", LOOPBACK, True),
        ("http", LOOPBACK, False),
        ("https", ELSEWHERE, False),
        ("https", (), False),
        (None, LOOPBACK, False),
    ],
)
async def test_behind_a_proxy_the_cookie_is_as_secure_as_the_proxy_says(
    tmp_path: Path, said: str | None, trusted: tuple[Any, ...], secure: bool
) -> None:
    """The proxy, and nobody who is none: a cookie that is secure by mistake would lock the owner out."""
    found = await attributes(tmp_path, {"X-Forwarded-Proto": said} if said else {}, trusted_proxies=trusted)

    assert ("secure" in found) is secure
    assert {"httponly", "samesite=strict", "path=/owner"} <= found


async def test_over_the_gateways_own_tls_the_cookie_is_secure(tmp_path: Path) -> None:
    """Whatever somebody claims in a header."""
    pair = make(tmp_path, "own")

    assert "secure" in await attributes(tmp_path / "data", {"X-Forwarded-Proto": "http"}, tls=pair)


@pytest.mark.parametrize(
    ("peer", "said", "scheme"),
    [
        ("10.0.0.1", ["https"], "https"),
        ("10.0.0.1", ["HTTPS, http"], "https"),
        ("10.0.0.1", ["http", "https"], "http"),
        ("10.0.0.1", ["ftp"], "http"),
        ("10.0.0.1", [""], "http"),
        ("10.0.0.1", [], "http"),
        ("::ffff:10.0.0.1", ["https"], "https"),
        ("1.1.1.1", ["https"], "http"),
        ("", ["https"], "http"),
    ],
)
def test_the_scheme_is_what_the_first_proxy_says(peer: str, said: list[str], scheme: str) -> None:
    """Of trusted ones; what is no scheme says nothing."""
    assert scheme_of(peer, said, ELSEWHERE, "http") == scheme

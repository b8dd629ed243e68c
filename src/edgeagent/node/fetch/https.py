"""Files of ``https://`` references: any server of the public internet, and nothing of the operator's own network.

No cookie, no proxy, no credential of this machine goes along.  Redirects are followed a few times, to ``https`` only,
and each hop is looked up and checked like the first.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import attrs
import httpcore2
import httpx2

from edgeagent import __version__
from edgeagent.node.fetch.addresses import is_address
from edgeagent.node.fetch.guarded import CONNECT_S, ClosedAddressError, Guarded
from edgeagent.node.fetch.source import Arriving, UnreachedError, UnusableError, range_headers, read_answer
from edgeagent.rest import explain

#: Redirects that are followed.
MOST_REDIRECTS = 5
#: Seconds without a byte after which a connection is given up.
STALL_S = 30.0
_TIMEOUT = {"connect": CONNECT_S, "read": STALL_S, "write": STALL_S, "pool": STALL_S}
_MOVED = (301, 302, 303, 307, 308)
#: Answers that another time may be better, though they begin with a 4.
_PASSING = (408, 421, 425, 429)


class Https:
    """One pool of connections for all ``https://`` references; use it as an async context manager."""

    def __init__(self, *, allow_private: bool = False, tls: ssl.SSLContext | None = None) -> None:
        """Take the system's authorities, unless ``tls`` knows others; ``allow_private`` as ``Guarded``."""
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls or httpx2.create_ssl_context(),
            network_backend=Guarded(allow_private=allow_private),
            max_connections=8,
            max_keepalive_connections=0,  # the next reference is another stranger's
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._pool.aclose()

    def at(self, ref: str) -> HttpsSource:
        """Return the file that a reference points to."""
        return HttpsSource(self._pool, ref)


@attrs.frozen
class HttpsSource:
    """A ``Source``: one ``https://`` reference."""

    _pool: httpcore2.AsyncConnectionPool
    _ref: str

    @asynccontextmanager
    async def open(self, offset: int, validator: str | None) -> AsyncIterator[Arriving]:
        """Begin to read (see ``Source.open``)."""
        url = _parse(self._ref)
        for _ in range(MOST_REDIRECTS + 1):
            with _Faults(url):
                async with self._ask(url, range_headers(offset, validator)) as answer:
                    headers = {
                        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers
                    }
                    if answer.status not in _MOVED:
                        _check(answer.status, url)
                        yield read_answer(answer.status, headers, offset, aiter(answer.aiter_stream()))
                        return
            url = _follow(url, headers.get("location", ""))
        raise UnusableError(f"{self._ref} redirects more than {MOST_REDIRECTS} times")

    @asynccontextmanager
    async def _ask(self, url: httpx2.URL, headers: dict[str, str]) -> AsyncIterator[httpcore2.Response]:
        sent = {"Host": url.netloc.decode(), "User-Agent": f"edgeagent/{__version__}", "Accept": "*/*", **headers}
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        async with self._pool.stream(
            "GET", target, headers=list(sent.items()), extensions={"timeout": _TIMEOUT}
        ) as answer:
            yield answer


class _Faults:
    """Turn what goes wrong with a server, at any point of its answer, into the two faults of sources."""

    def __init__(self, url: httpx2.URL) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ClosedAddressError):
            if is_address(self._url.host):
                raise UnusableError(str(error)) from None
            raise UnreachedError(str(error), lasting=True) from None  # a name may lead elsewhere for others
        if isinstance(error, httpcore2.UnsupportedProtocol | UnicodeError):
            raise UnusableError(f"{self._url} cannot be asked for: {error}") from None
        if isinstance(error, httpcore2.NetworkError | httpcore2.TimeoutException | httpcore2.ProtocolError):
            raise UnreachedError(f"{self._url.host}: {explain(error)}") from None


def _parse(text: str) -> httpx2.URL:
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise UnusableError(f"{text[:200]} is no URL: {error}") from None
    return _checked(url)


def _follow(url: httpx2.URL, location: str) -> httpx2.URL:
    try:
        return _checked(url.join(location))
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise UnusableError(f"{url.host} redirects to what is no URL: {error}") from None


def _checked(url: httpx2.URL) -> httpx2.URL:
    if url.scheme != "https" or not url.host:
        raise UnusableError(f"{str(url)[:200]} is not an https:// address")
    if url.userinfo:
        raise UnusableError("a reference carries no user name or password")
    return url


def _check(status: int, url: httpx2.URL) -> None:
    if status in (200, 206, 416):
        return
    if 400 <= status < 500 and status not in _PASSING:
        raise UnusableError(f"{url.host} answers {status} for {str(url)[:200]}")
    raise UnreachedError(f"{url.host} answers {status}")

"""Connections for strangers' references: a name is looked up once, its addresses are checked, and one of those is used.

To check a name and connect to it afterwards would be two lookups, and who owns the name could answer them differently.
TLS is set up by the caller with the name, so the server still has to prove that it is the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

import httpcore2
import trio

from edgeagent.connections import Connecting
from edgeagent.node.fetch.addresses import is_public

#: Addresses of one name that are tried, and the seconds that each has.
_TRIES = 4
CONNECT_S = 10.0


class ClosedAddressError(Exception):
    """A name leads to nothing but addresses that references must not lead to."""


class Guarded(Connecting):
    """Connects to public addresses only, unless the operator allows others."""

    def __init__(self, *, allow_private: bool = False) -> None:
        super().__init__()
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to one of a name's addresses.

        Raises:
            ClosedAddressError: none of them may be used.
            httpcore2.ConnectError, httpcore2.ConnectTimeout: none of them answers, or there is no such name.
        """
        addresses = await self._look_up(host, port)
        fault: httpcore2.ConnectError | httpcore2.ConnectTimeout | None = None
        for address in addresses[:_TRIES]:
            try:
                return await super().connect_tcp(address, port, CONNECT_S, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                fault = error
        raise fault or httpcore2.ConnectError(f"{host} has no address")

    async def _look_up(self, host: str, port: int) -> list[str]:
        try:
            with trio.fail_after(CONNECT_S):
                found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(str(error)) from error
        except trio.TooSlowError:
            raise httpcore2.ConnectTimeout(f"{host} was not found within {CONNECT_S:g} s") from None
        addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        usable = [each for each in addresses if self._allow_private or is_public(each)]
        if addresses and not usable:
            raise ClosedAddressError(f"{host} leads to {addresses[0]}, which is not on the public internet")
        return usable

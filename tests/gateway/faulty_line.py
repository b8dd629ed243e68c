"""A line to a gateway that spoils what it carries, or breaks in the middle: a proxy of this process, on loopback."""

from __future__ import annotations

import contextlib

import attrs
import trio
from scripted import PortGateway

#: Files of nothing but this are recognised in whatever pieces they travel: no header holds so many of it.
BYTE = b"\xff"
_CLEAN, _SPOILED = BYTE * 64, BYTE * 63 + b"\xfe"


@attrs.define
class Line:
    """Carries requests, and counts them and their bytes.

    Attributes:
        spoil: spoils the bodies of the next so many requests.
        cuts: after so many bytes of either direction, the connection of that moment is cut; one after the other.
    """

    gateway: PortGateway
    spoil: int = 0
    cuts: list[int] = attrs.Factory(list)
    requests: int = 0
    carried: int = 0
    _bad: bool = False

    async def run(self, nursery: trio.Nursery) -> str:
        """Serve until the nursery ends; return the address."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, self._carry, [listener])
        return f"http://127.0.0.1:{listener.socket.getsockname()[1]}"

    async def _carry(self, client: trio.SocketStream) -> None:
        host, port = self.gateway.url.removeprefix("http://").split(":")
        async with client, await trio.open_tcp_stream(host, int(port)) as gateway, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, client, gateway, nursery.cancel_scope)
            nursery.start_soon(self._pass_on, gateway, client, nursery.cancel_scope)

    async def _pass_on(self, source: trio.SocketStream, to: trio.SocketStream, scope: trio.CancelScope) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # either end may hang up
            async for data in source:
                if data.startswith((b"POST ", b"PATCH ", b"HEAD ", b"GET ", b"DELETE ")):
                    self.requests += 1
                    self._bad, self.spoil = self.spoil > 0, max(0, self.spoil - 1)
                self.carried += len(data)
                if self.cuts and self.carried > self.cuts[0]:
                    self.cuts.pop(0)
                    break
                await to.send_all(data.replace(_CLEAN, _SPOILED) if self._bad else data)
        scope.cancel()

"""Hypercorn's HTTP/1.1, with a problem document for whatever hypercorn refuses by itself, as for all other faults here.

Nothing else is spoken.  Hypercorn takes up HTTP/2 with whoever begins it without TLS, and has no setting against that;
many requests at once on one connection would escape what limits a connection.  Some clients only offer it and would as
soon have their answer in HTTP/1.1 (Java's does so with each connection): to them the offer is passed over, as RFC 9110,
section 7.8, allows.
"""

from __future__ import annotations

import json
from http import HTTPStatus

import h11
from hypercorn.events import Closed
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Event, Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream

PROBLEM_JSON = "application/problem+json"
#: What is said of what hypercorn refuses.
_WHY = {
    400: "that is no request that HTTP/1.1 allows",
    403: "links are at /api/v1/relay/ws/NODE alone",
    431: "the request's line and headers are too long",
    501: "a body comes with its length, or in chunks",
    503: "too many connections; come back in 5 s",
    505: "HTTP/1.1 is spoken here",
}
_Headers = list[tuple[bytes, bytes]]


def refusal(status_code: int) -> tuple[_Headers, bytes]:
    """Return the headers and the body that refuse what is no request for the application."""
    title = HTTPStatus(status_code).phrase
    problem = {
        "type": "about:blank",
        "title": title,
        "status": status_code,
        "detail": _WHY.get(status_code, title),
    }
    body = json.dumps(problem).encode()
    length = str(len(body)).encode()
    return [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", length), (b"connection", b"close")], body


class Http1(H11Protocol):
    """One connection's requests, one after the other."""

    _refused = False  # the handshake of a WebSocket: all has been said

    @classmethod
    def instead(cls, wrapper: ProtocolWrapper) -> Http1:
        """Return what takes the place of the protocol that hypercorn has chosen."""
        every = (wrapper.app, wrapper.config, wrapper.context, wrapper.task_group, wrapper.state)
        return cls(*every, wrapper.ssl, wrapper.client, wrapper.server, wrapper.send)

    async def stream_send(self, event: Event) -> None:
        """Send; where the handshake of a WebSocket is refused, say why, and close: hypercorn would wait for ever."""
        if isinstance(event, Response) and event.status_code >= 400 and isinstance(self.stream, WSStream):
            self._refused = True
            await self._refuse(event.status_code)
        elif not self._refused:
            await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        headers, body = refusal(status_code)
        every: _Headers = [*headers, *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=every))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    async def _check_protocol(self, event: h11.Request) -> None:
        """Take up nothing else."""

    async def _create_stream(self, request: h11.Request) -> None:
        if request.http_version >= b"2":  # how HTTP/2 begins with a server that is known to speak it
            await self._refuse(505)
        elif _upgrades(request) and self.connection.trailing_data[0]:
            await self._refuse(400)  # RFC 6455, section 4.1: the first frame comes after the handshake was answered
        else:
            await super()._create_stream(request)

    async def _refuse(self, status_code: int) -> None:
        await self._send_error_response(status_code)
        await self.send(Closed())


def _upgrades(request: h11.Request) -> bool:
    return any(name == b"upgrade" and value.strip().lower() == b"websocket" for name, value in request.headers)

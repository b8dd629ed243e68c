"""TLS on the gateway's own port, for one that has no proxy in front: the certificate, and a connection under hypercorn.

Only HTTP/1.1 is offered: what limits a connection (``gateway.connection``) counts on one request at a time.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, cast

import trio

from edgeagent.errors import UsageError
from edgeagent.gateway.connection import SEND_S, Connection, Stream

#: Seconds that a peer has for the handshake; like any reader of a slow line, far above what one takes.
HANDSHAKE_S = 10.0


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return how the gateway speaks TLS: 1.2 or newer, with this certificate (and its chain) and its key, both in PEM.

    Raises:
        UsageError: a file cannot be read, holds something else, is encrypted, or the key is not the certificate's.
    """
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from None

    def refuse_password() -> str:
        raise UsageError(f"the key in {key} is encrypted; store it without a password, readable for the gateway alone")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(f"the key in {key} is not that of the certificate in {certificate}") from None
        raise UsageError(f"{certificate} and {key} are not a certificate and its key in PEM") from None
    return context


class SecureConnection(Connection):
    """A connection over TLS, with what hypercorn asks of such a stream."""

    def __init__(self, stream: Stream, socket: Any, context: ssl.SSLContext) -> None:
        self._tls = trio.SSLStream(cast(trio.abc.Stream, stream), context, server_side=True, https_compatible=True)
        super().__init__(cast(Stream, self._tls), socket)

    @property
    def transport_stream(self) -> SecureConnection:
        """What has the ``socket``."""
        return self

    async def do_handshake(self) -> None:
        """Agree on keys with the peer."""
        await self._tls.do_handshake()

    def selected_alpn_protocol(self) -> str:
        """Return the only protocol there is, which a peer need not ask for."""
        return "http/1.1"

    async def send_eof(self) -> None:
        """TLS says with its closing that nothing more will be sent."""

    async def aclose(self) -> None:
        """Close, and say so to a peer that takes it."""
        with trio.move_on_after(SEND_S) as self._sending:
            await super().aclose()

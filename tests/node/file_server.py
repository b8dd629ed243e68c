"""A file server over TLS for tests: ranges and conditions to the letter, and bad in every way that is asked for."""

from __future__ import annotations

import functools
import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path

import attrs
import h11
import trio
import trustme


@attrs.define(eq=False)
class File:
    """What lies at a path."""

    data: bytes
    status: int = 200
    location: str = ""  # where a redirect leads
    cut_after: list[int] = attrs.Factory(list)  # bytes after which connection 1, 2 ... are closed without an end
    pause_at: int | None = None  # bytes after which it waits for ``go_on``
    paused: trio.Event = attrs.Factory(trio.Event)
    go_on: trio.Event = attrs.Factory(trio.Event)
    validator: bool = True
    ranges: bool = True
    length: bool = True

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.data).hexdigest()[:16]}"'


class Server:
    """A server on loopback; ``files`` may be changed while it runs."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.files: dict[str, File] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.open = 0
        self.port = 0

    def trust(self) -> ssl.SSLContext:
        """How a client that knows its authority, and no other, connects."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def write_authority(self, path: Path) -> Path:
        """Put the authority's certificate into a file."""
        self.authority.cert_pem.write_to_path(str(path))
        return path

    def url(self, path: str, host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(functools.partial(self._connection, context), [listener])

    async def _connection(self, context: ssl.SSLContext, below: trio.SocketStream) -> None:
        stream = trio.SSLStream(below, context, server_side=True, https_compatible=True)
        self.open += 1
        try:
            with trio.move_on_after(60):
                await self._serve(stream, h11.Connection(h11.SERVER))
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.SSLStream[trio.SocketStream], http: h11.Connection) -> None:
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Request):
                headers = {name.decode(): value.decode() for name, value in event.headers}
                path = event.target.decode()
                self.asked.append((path, headers))
                await self._answer(path, headers, http, stream.send_all)
                return
            else:
                return

    async def _answer(self, path: str, headers: dict[str, str], http: h11.Connection, send: Callable) -> None:
        file = self.files.get(path, File(b"no such file", status=404))
        if file.location:
            answer = h11.Response(
                status_code=file.status, headers=[("Location", file.location), ("Content-Length", "0")]
            )
            await send(http.send(answer) + http.send(h11.EndOfMessage()))
            return
        start, status = 0, file.status
        about = [("ETag", file.etag)] if file.validator else []
        if "range" in headers and file.ranges and headers.get("if-range") == file.etag:
            start, status = int(headers["range"].removeprefix("bytes=").rstrip("-")), 206
            if start >= len(file.data):
                await send(http.send(h11.Response(status_code=416, headers=[("Content-Length", "0")])))
                return
            about.append(("Content-Range", f"bytes {start}-{len(file.data) - 1}/{len(file.data)}"))
        if file.length:
            about.append(("Content-Length", str(len(file.data) - start)))
        await send(http.send(h11.Response(status_code=status, headers=about)))
        end = start + (file.cut_after.pop(0) if file.cut_after else len(file.data))
        await self._body(file, start, end, http, send)
        if end >= len(file.data):
            await send(http.send(h11.EndOfMessage()) or b"")

    async def _body(self, file: File, start: int, end: int, http: h11.Connection, send: Callable) -> None:
        if file.pause_at is not None and start <= file.pause_at < end and not file.go_on.is_set():
            await send(http.send(h11.Data(file.data[start : file.pause_at])))
            file.paused.set()
            await file.go_on.wait()
            start = file.pause_at
        await send(http.send(h11.Data(file.data[start:end])))

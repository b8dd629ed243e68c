"""Sockets of a load generator: one loop over many of them, without a task, a thread or a buffer more than needed."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Protocol

from benchmarks.harness import BenchmarkError

#: Most bytes read at once.
_CHUNK = 1 << 16


class Listener(Protocol):
    """What a channel hands its bytes to."""

    def heard(self, data: bytes) -> None:
        """Something arrived."""

    def gone(self) -> None:
        """The peer has closed the connection."""


class Channel:
    """One connection; what the socket does not take at once is kept until it does."""

    def __init__(self, loop: Loop, address: tuple[str, int], listener: Listener) -> None:
        self._loop = loop
        self._pending = b""
        self.listener = listener
        self.socket = socket.create_connection(address)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.add(self)

    def send(self, data: bytes) -> None:
        """Send this, now or as soon as the socket takes it."""
        if self._pending:
            self._pending += data
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._pending = data[sent:]
            self._loop.watch(self, select.EPOLLIN | select.EPOLLOUT)

    def writable(self) -> None:
        """The socket takes more."""
        pending, self._pending = self._pending, b""
        self._loop.watch(self, select.EPOLLIN)
        self.send(pending)


class Loop:
    """Everything that is connected."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._channels: dict[int, Channel] = {}

    def add(self, channel: Channel) -> None:
        """Hear what arrives on a channel."""
        self._channels[channel.socket.fileno()] = channel
        self._epoll.register(channel.socket.fileno(), select.EPOLLIN)

    def watch(self, channel: Channel, events: int) -> None:
        """Change what a channel is looked at for."""
        self._epoll.modify(channel.socket.fileno(), events)

    def close(self) -> None:
        """Cut all connections."""
        for channel in self._channels.values():
            channel.socket.close()
        self._channels.clear()
        self._epoll.close()

    def run(self, done: Callable[[], bool], within_s: float, what: str) -> None:
        """Serve all channels until ``done``.

        Raises:
            BenchmarkError: a peer hung up, or it took longer than ``within_s``, with ``what`` was waited for.
        """
        until = time.monotonic() + within_s
        while not done():
            self.turn(0.05)
            if time.monotonic() > until:
                raise BenchmarkError(f"waited {within_s:g} s for {what}")

    def turn(self, most_s: float) -> None:
        """Serve what is there, or what comes within ``most_s`` seconds."""
        for number, events in self._epoll.poll(most_s):
            channel = self._channels[number]
            if events & select.EPOLLOUT:
                channel.writable()
            if events & ~select.EPOLLOUT:
                try:
                    data = channel.socket.recv(_CHUNK)
                except ConnectionError as problem:
                    raise BenchmarkError(f"the gateway cut a connection: {problem}") from None
                if data:
                    channel.listener.heard(data)
                else:
                    self._drop(channel)
                    channel.listener.gone()

    def _drop(self, channel: Channel) -> None:
        self._epoll.unregister(channel.socket.fileno())
        del self._channels[channel.socket.fileno()]
        channel.socket.close()

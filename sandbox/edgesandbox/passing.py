"""JSON messages with descriptors over a sequenced-packet socket: how agent, zygote and supervisor talk.

One message is one packet, so nobody has to frame or to buffer.  Descriptors arrive closed on exec.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

# The kernel's default for net.core.wmem_default is 212,992 bytes; a packet has to fit into that.
MAX_BYTES = 160 * 1024
# What a job's spec and report need; a larger buffer would be mapped and unmapped for each.
SMALL_BYTES = 16 * 1024

# A supervisor's word that its job is confined; the control socket carries nothing else so often.
READY = b'{"ready":true}'


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send a message and copies of the descriptors.

    Raises:
        OSError: the other end is gone, or the message is over ``MAX_BYTES`` long.
    """
    send_bytes(sock, json.dumps(message).encode(), fds)


def send_bytes(sock: socket.socket, data: bytes, fds: Sequence[int] = ()) -> None:
    """Send a message that is made already.

    Raises:
        OSError: as ``send``.
    """
    if len(data) > MAX_BYTES:
        raise OSError(f"message of {len(data)} bytes is over the {MAX_BYTES} that a packet may have")
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)


def receive(
    sock: socket.socket, max_fds: int = 0, *, max_bytes: int = SMALL_BYTES
) -> tuple[dict[str, Any] | None, list[int]]:
    """Return the next message and its descriptors; None when the other end is gone.

    Raises:
        OSError: the socket's timeout ran out, or what came is no message; its descriptors are closed then.
    """
    data, fds = receive_bytes(sock, max_fds, max_bytes=max_bytes)
    if not data:
        return None, []
    try:
        return decode(data), fds
    except ValueError as problem:
        close_all(fds)
        raise OSError(errno.EBADMSG, str(problem)) from None


def decode(data: bytes) -> dict[str, Any]:
    """Return the message that a packet holds.

    Raises:
        ValueError: it holds none.
    """
    try:
        message: object = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"this is no message: {problem}") from None
    if not isinstance(message, dict):
        raise ValueError("this is no message: not an object")  # noqa: TRY004 - a value from outside
    return message


def receive_bytes(sock: socket.socket, max_fds: int = 0, *, max_bytes: int = SMALL_BYTES) -> tuple[bytes, list[int]]:
    """Return the next message as it came and its descriptors; nothing when the other end is gone.

    Raises:
        OSError: the socket's timeout ran out.
    """
    fds = array.array("i")
    space = socket.CMSG_SPACE(max_fds * fds.itemsize) if max_fds else 0
    try:
        data, ancillary, _flags, _address = sock.recvmsg(max_bytes, space, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # the peer went with something of ours unread; its own last words come after this
        data, ancillary, _flags, _address = sock.recvmsg(max_bytes, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    if not data:
        close_all(fds)
        return b"", []
    return data, list(fds)


def adopt(fd: int) -> socket.socket:
    """Return the end of a pair that this descriptor is; what Python would ask the kernel about it is known."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)


def close_all(fds: Sequence[int]) -> None:
    """Close every descriptor of a message that is not wanted."""
    for fd in fds:
        os.close(fd)

"""Where the control socket is, and how it can be reached; shared by both of its ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

VERSION = 1
SOCKET = "control.sock"
#: Longest path of a socket (sun_path in unix(7), without its final zero).
MAX_PATH_BYTES = 107


@contextlib.contextmanager
def address(home: Path) -> Iterator[str]:
    """Give a path by which the socket in ``home`` can be bound or connected to, however long the home's own is."""
    path = home / SOCKET
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        yield str(path)
        return
    directory = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET}"
    finally:
        os.close(directory)

"""Files of dead jobs, opened for an agent that is not the user they belong to.

Where an ordinary user's jobs have ids of their own, what they leave is closed to him, however well meant: a program may
make its files for itself alone.  His launcher is root over those ids and opens what he asks for, for reading and
beneath a directory of which he holds a descriptor, as ``linux.open_beneath`` does.
"""

from __future__ import annotations

import json
import os
import socket
import threading

from edgesandbox import linux, passing

# What an agent may ask for: nothing that writes, waits or makes anything.
FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def answer(sock: socket.socket) -> bool:
    """Answer one request of the agent's; False when there will be no more."""
    try:
        request, fds = passing.receive(sock, max_fds=1)
    except OSError:
        return False
    if request is None:
        return False
    opened: list[int] = []
    try:
        (directory,) = fds
        opened.append(linux.open_beneath(directory, str(request["path"]), int(request["flags"]) & FLAGS))
        passing.send(sock, {}, opened)
    except OSError as problem:
        passing.send(sock, {"errno": problem.errno, "text": problem.strerror})
    finally:
        passing.close_all([*fds, *opened])
    return True


class Opener:
    """The agent's end; one request at a time, whichever thread asks."""

    def __init__(self, fd: int) -> None:
        """Ask by this socket."""
        self._sock = passing.adopt(fd)
        self._lock = threading.Lock()

    def open_beneath(self, directory: int, path: str, flags: int) -> int:
        """Open as ``linux.open_beneath``.

        Raises:
            OSError: it cannot be opened, or the launcher is gone.
        """
        with self._lock:
            passing.send(self._sock, {"path": path, "flags": flags}, [directory])
            data, fds = passing.receive_bytes(self._sock, max_fds=1)
        if not data:
            raise ConnectionResetError("the launcher is gone")
        if not fds:
            refused = json.loads(data)
            raise OSError(refused["errno"], refused["text"])
        return fds[0]

    def close(self) -> None:
        """Let the launcher know that nothing more will be asked."""
        self._sock.close()

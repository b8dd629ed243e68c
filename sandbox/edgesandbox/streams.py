"""The three streams of a program in a sandbox, carried to and from ours.

The program gets pipes, never our own descriptors: those may be a terminal, a file that is open for writing, or a
socket.  One thread for each stream, so that none waits for another: a program that writes before it has read all of
its input does not come to a halt.  What it writes is counted here.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

_CHUNK_BYTES = 65_536


class Streams:
    """Pipes to a program, and the threads that serve them.

    Attributes:
        inside: what the program gets: stdin, stdout and stderr.
        over: more came out than may.
        unread: nobody reads one of our own outputs any more.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Make the pipes; ``limit_bytes`` is for stdout and stderr together, and what is past it is dropped."""
        self._stdin_inside, self._stdin = os.pipe()
        self._stdout, stdout_inside = os.pipe()
        self._stderr, stderr_inside = os.pipe()
        self.inside = [self._stdin_inside, stdout_inside, stderr_inside]
        self.over = False
        self.unread = False
        self._left_bytes = limit_bytes
        self._lock = threading.Lock()
        self._outputs: list[threading.Thread] = []

    def serve(self, trouble: Callable[[], None]) -> None:
        """Start the threads, once the program has its ends; ``trouble`` is called when it is ``over`` or ``unread``."""
        for fd in self.inside:
            os.close(fd)
        self.inside = []
        threading.Thread(target=self._feed, name="stdin", daemon=True).start()
        for name, source, target in (("stdout", self._stdout, 1), ("stderr", self._stderr, 2)):
            thread = threading.Thread(target=self._pass_on, args=(source, target, trouble), name=name, daemon=True)
            thread.start()
            self._outputs.append(thread)

    def wait(self, limit_s: float | None) -> bool:
        """Return whether the outputs have come to their end; waits for that so many seconds, or as long as it takes."""
        for thread in self._outputs:
            thread.join(limit_s)
        return not any(thread.is_alive() for thread in self._outputs)

    def _feed(self) -> None:
        """Carry our stdin in, until either end has no more to do with it."""
        closed = select.poll()
        closed.register(self._stdin, 0)  # tells of POLLERR: the program has closed its end
        try:
            while not closed.poll(0) and (data := os.read(0, _CHUNK_BYTES)):
                _write(self._stdin, data)
        except OSError:  # ours is closed, or the program does not read on
            pass
        finally:
            os.close(self._stdin)

    def _pass_on(self, source: int, target: int, trouble: Callable[[], None]) -> None:
        """Carry one output out; a program that goes on when nobody takes it meets a closed pipe."""
        with open(source, "rb", buffering=0) as pipe:
            while not self.over and (data := pipe.read(_CHUNK_BYTES)):
                try:
                    _write(target, self._count(data))
                except OSError:
                    self.unread = True
                    break
        if self.over or self.unread:
            trouble()

    def _count(self, data: bytes) -> bytes:
        """Return what of it may come out."""
        with self._lock:
            allowed = data[: self._left_bytes]
            self._left_bytes -= len(allowed)
            self.over = self.over or len(allowed) < len(data)
        return allowed


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]

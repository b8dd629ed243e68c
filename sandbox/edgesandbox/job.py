"""The job's process: confines itself, then calls the entry function with the channel.

Nothing that runs here is trusted once the job has started.  That is when the agent says so: until then it waits,
confined, here or, with what takes long done already, in an entry that knows how to.  Over ``words``, a pipe to the
supervisor, it says either why it could not be confined, or first that it is, and in the end perhaps that it lacked
memory.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import importlib
import os
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from edgesandbox import confine
from edgesandbox.prepare import Prepared

# A null byte, which no reason holds, and the processor seconds it took: first of all, and nothing after it can say that
# the sandbox failed.
CONFINED = struct.Struct("=xd")
OUT_OF_MEMORY = b"M"

Entry = Callable[[socket.socket], object]


@dataclasses.dataclass(frozen=True)
class Waiting:
    """An entry that waits for its job's start itself, with what it can do ahead done: it has a ``Gate`` to pass."""

    function: Callable[[socket.socket, Gate], object]


def load_entry(name: str) -> Entry:
    """Return the function that ``"module:function"`` names.

    Raises:
        ImportError: no such module.
        AttributeError: no such function in it.
    """
    module, _, function = name.partition(":")
    entry: Entry = getattr(importlib.import_module(module), function)
    return entry


def load(name: str, *, waits: bool) -> Entry | Waiting:
    """Return the entry that ``"module:function"`` names, as the zygote's caller has described it.

    Raises:
        ImportError: no such module.
        AttributeError: no such function in it.
    """
    entry: Any = load_entry(name)
    return Waiting(entry) if waits else entry


@dataclasses.dataclass(frozen=True)
class Ends:
    """The descriptors of a job: what its stranger gets, and what it has until it starts.

    Attributes:
        channel: to the agent.
        output: a pipe, its stdout and stderr.
        words: a pipe to the supervisor.
        start: a pipe: a byte when the job is to start, its end when it is not wanted any more.
    """

    channel: int
    output: int
    words: int
    start: int


class Gate:
    """What stands between a confined process and its job: ``ready`` first, then ``enter`` when ``fd`` is readable."""

    def __init__(self, ends: Ends) -> None:
        """Stand at the process that has these descriptors."""
        self._words = ends.words
        self.fd = ends.start

    def ready(self) -> None:
        """Say that this process is confined, and that what it has used of the processor is not the job's."""
        os.write(self._words, CONFINED.pack(time.process_time()))

    def enter(self) -> None:
        """Return when the job is to start; never where it is not wanted any more."""
        if not os.read(self.fd, 1):
            os._exit(1)
        os.close(self.fd)
        self.fd = -1


def run(prepared: Prepared, entry: Entry | Waiting | str, ends: Ends) -> NoReturn:
    """Become the job, wait until it is to start, and end with it."""
    words = ends.words
    try:
        confine.use_descriptors(ends.output, [ends.channel, words, ends.start])
        prepared.confine.make()
        if prepared.wall is not None:
            prepared.wall.restrict()
        confine.be_first_to_die()
    except OSError as problem:
        os.write(words, (problem.strerror or str(problem)).encode()[:1000])
        os._exit(1)
    start(entry, ends)


def start(entry: Entry | Waiting | str, ends: Ends) -> NoReturn:
    """Be confined, wait until the job is to start, and end with it."""
    gate = Gate(ends)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, ends.channel)
    code, too_large = 1, False
    try:
        if isinstance(entry, Waiting):
            code = _exit_code(functools.partial(entry.function, channel, gate))
        else:
            gate.ready()
            # From here to the entry, every line delays a job that somebody waits for.
            gate.enter()
            code = _exit_code(functools.partial(load_entry(entry) if isinstance(entry, str) else entry, channel))
    except BaseException as problem:
        if gate.fd >= 0:  # not the job's fault: it has not started
            os.write(ends.words, f"{type(problem).__name__} before the start: {problem}".encode()[:1000])
        elif isinstance(problem, MemoryError):
            os.write(ends.words, OUT_OF_MEMORY)
        else:
            too_large = isinstance(problem, OSError) and problem.errno == errno.EFBIG
        traceback.print_exc()
    finally:
        _flush()
        if too_large:  # as it would have ended if Python did not ignore the signal
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            signal.raise_signal(signal.SIGXFSZ)
        os._exit(code)


def _exit_code(call: Callable[[], object]) -> int:
    """Call the entry as a program is called."""
    try:
        call()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    return 0


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue

"""The job's process: confines itself, then calls the entry function with the channel.

Nothing that runs here is trusted once the entry is called.  That is when the agent says so: until then the job waits,
confined.  Over ``words``, a pipe to the supervisor, it says either why it could not be confined, or first that it is,
and in the end perhaps that it lacked memory.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from edgesandbox import confine
from edgesandbox.prepare import Prepared

# A null byte, which no reason holds, and the processor seconds it took: first of all, and nothing after it can say that
# the sandbox failed.
CONFINED = struct.Struct("=xd")
OUT_OF_MEMORY = b"M"

Entry = Callable[[socket.socket], object]


def load_entry(name: str) -> Entry:
    """Return the function that ``"module:function"`` names.

    Raises:
        ImportError: no such module.
        AttributeError: no such function in it.
    """
    module, _, function = name.partition(":")
    entry: Entry = getattr(importlib.import_module(module), function)
    return entry


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


def run(prepared: Prepared, entry: Entry | str, ends: Ends) -> NoReturn:
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


def start(entry: Entry | str, ends: Ends) -> NoReturn:
    """Say that this process is confined, wait until the job is to start, and end with it."""
    words = ends.words
    os.write(words, CONFINED.pack(time.process_time()))
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, ends.channel)
    # From here to the entry, every line delays a job that somebody waits for.
    if not os.read(ends.start, 1):
        os._exit(1)
    os.close(ends.start)
    code = 1
    try:
        code = _call(entry, channel)
    except MemoryError:
        os.write(words, OUT_OF_MEMORY)
        traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _call(entry: Entry | str, channel: socket.socket) -> int:
    """Call the entry as a program is called; returns its exit code."""
    try:
        (load_entry(entry) if isinstance(entry, str) else entry)(channel)
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

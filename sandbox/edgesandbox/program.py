"""The job that becomes a program: receives its standard streams, reads what to run, and runs it in its own place.

The channel closes when that has worked; one line on it says why it has not.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any, NoReturn


def main(channel: socket.socket) -> None:
    """Replace this process by the program asked for."""
    _byte, streams, _flags, _address = socket.recv_fds(channel, 1, 3)
    with channel.makefile("r") as stream:
        wanted = json.loads(stream.readline())
    try:
        _become(wanted, streams)
    except (OSError, ValueError) as problem:
        channel.sendall(json.dumps(str(problem)).encode())


def _become(wanted: dict[str, Any], streams: list[int]) -> NoReturn:
    if len(streams) != 3:  # the kernel drops what there is no room for
        raise OSError("limit nofile leaves no room for the program's stdin, stdout and stderr")
    for source, target in zip(streams, range(3), strict=True):
        os.dup2(source, target)
        os.close(source)
    try:
        if wanted["directory"] is not None:
            os.chdir(wanted["directory"])
    except OSError as problem:
        raise OSError(f"cannot start in {wanted['directory']}: {problem.strerror}") from None
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python, and ignored signals stay so
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(wanted["argv"][0], wanted["argv"], os.environ | wanted["env"])
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise OSError(f"cannot run {wanted['argv'][0]}: {reason}") from None

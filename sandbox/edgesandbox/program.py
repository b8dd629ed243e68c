"""The job that becomes a program: reads one line with what to run, and runs it in its own place.

The channel closes when that has worked; one line on it says why it has not.
"""

from __future__ import annotations

import json
import os
import socket


def main(channel: socket.socket) -> None:
    """Replace this process by the program asked for."""
    with channel.makefile("r") as stream:
        wanted = json.loads(stream.readline())
    try:
        os.execvpe(wanted["argv"][0], wanted["argv"], os.environ | wanted["env"])  # noqa: S606
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        channel.sendall(json.dumps(f"cannot run {wanted['argv'][0]}: {reason}").encode())

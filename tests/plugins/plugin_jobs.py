"""Runs one job in a real process over a real socket pair, the way a sandbox does but without its walls."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import attrs

from edgeagent.plugins.channel import Done, LineDecoder, Message, Progress, start_line
from edgeagent.plugins.loading import PLUGIN_DIR_VARIABLE

_PROGRAM = """
import socket, sys
from edgeagent.plugins import child
child.main(socket.socket(fileno=int(sys.argv[1])))
"""
JOB_ID = uuid.UUID("6f1f1c1e-94a8-4ad7-a5d1-0f2d53a3c7aa")


@attrs.frozen(kw_only=True)
class Ran:
    """What one job said, printed and left."""

    messages: list[Message]
    printed: str
    status: int
    scratch: Path

    @property
    def done(self) -> Done:
        """The one Done, which is the last message."""
        *before, last = self.messages
        assert isinstance(last, Done)
        assert all(isinstance(message, Progress) for message in before)
        return last

    @property
    def progress(self) -> list[Progress]:
        """All progress, in order."""
        return [message for message in self.messages if isinstance(message, Progress)]


@contextlib.contextmanager
def job_process(scratch: Path, plugin_dir: Path | None = None, *, stdout: int | None = None) -> Any:
    """Start a job process in ``scratch``; yield it and our end of its channel, and leave nothing of it."""
    ours, theirs = socket.socketpair()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EDGEAGENT_"))}
    if plugin_dir is not None:
        environ[PLUGIN_DIR_VARIABLE] = str(plugin_dir)
    with ours, (scratch / "printed").open("wb") as printed:
        ours.settimeout(60)
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=printed if stdout is None else stdout,
            stderr=printed,
            cwd=scratch,
            env=environ,
        )
        theirs.close()
        try:
            yield process, ours
        finally:
            process.kill()
            process.wait()


def hear(channel: socket.socket) -> list[Message]:
    """Return everything the job says until it hangs up."""
    decoder, messages = LineDecoder(), []
    while data := channel.recv(1 << 16):
        messages += decoder.feed(data)
    decoder.eof()
    return messages


def run_job(scratch: Path, job_type: str, payload: dict[str, Any], plugin_dir: Path | None = None) -> Ran:
    """Run one job to its end."""
    with job_process(scratch, plugin_dir) as (process, channel):
        channel.sendall(start_line(JOB_ID, job_type, payload))
        messages = hear(channel)
        status = process.wait(timeout=60)
    return Ran(messages=messages, printed=(scratch / "printed").read_text(), status=status, scratch=scratch)

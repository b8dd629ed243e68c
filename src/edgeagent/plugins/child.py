"""The job's side of the channel: what runs inside the sandbox, once per process.

``main`` reads one Start, runs the plugin under trio, sends one Done and returns; the process ends after that.  Its one
rule is that every way a plugin can go wrong short of killing the process becomes a Done with one line of reason, the
traceback going to stderr where the log lines come from.  The zygote imports this module before it forks, so trio and
the table of plugins are there already; the plugin's own imports happen here, after the fork.

A process that is kept ready waits inside trio, whose start takes longer than most of what comes before the plugin.
Nothing of a job, the plugin's imports included, happens before the gate is passed.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Protocol

import trio

from edgeagent.plugins.base import BaseWorkerPlugin, JobContext, RejectJob, WorkerResult, enter_job
from edgeagent.plugins.channel import ChannelError, LineDecoder, Start, done_line, one_line, progress_line
from edgeagent.plugins.loading import PluginError, discover, load, plugin_dir_from

#: Least time between two progress messages of one job: faster than anybody can read, slow enough to cost nothing.
PROGRESS_INTERVAL_S = 0.05

_discovered = discover(plugin_dir_from())  # once, in the zygote: reading the metadata of packages takes 20 ms


class Gate(Protocol):
    """What stands between this process and its job, as the sandbox has it."""

    fd: int  # -1 once it is passed

    def ready(self) -> None:
        """Say that everything is set up."""

    def enter(self) -> None:
        """Return when ``fd``, now readable, says that the job is to start; never where it is not wanted any more."""


def main(channel: socket.socket, gate: Gate | None = None) -> None:
    """Do the one job that comes over ``channel``, behind ``gate``.

    Output files go to ``output`` in the working directory.
    """
    sender, limit = _Sender(channel), None
    try:
        done = trio.run(_live, channel, gate, sender)
    except BaseException as error:  # the plugin may break even what runs it
        if gate is not None and gate.fd >= 0:
            raise  # there was no plugin yet
        cause = _cause(error)
        done, limit = _answer(_failure(cause)), cause if _is_limit(cause) else None
    if done is None:
        return  # the agent is gone: nobody wants this job
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()  # what was printed comes before the result
        except (OSError, ValueError):
            continue  # closed by the plugin, or nobody reads it any more
    sender.finish(done)
    if limit is not None:
        raise limit  # a program that ends so has met its limit, says the sandbox


async def _live(channel: socket.socket, gate: Gate | None, sender: _Sender) -> bytes | None:
    if gate is not None:
        gate.ready()
        await trio.lowlevel.wait_readable(gate.fd)
        gate.enter()
    start = await _receive(channel)
    if start is None:
        return None
    try:
        return _answer(await _execute(start, sender))
    except ChannelError as error:
        return done_line(success=False, error=str(error))


async def _receive(channel: socket.socket) -> Start | None:
    decoder = LineDecoder(kinds=(Start,))
    while True:
        await trio.lowlevel.wait_readable(channel)
        data = channel.recv(1 << 16)
        if not data:
            return None
        for message in decoder.feed(data):
            assert isinstance(message, Start)
            return message


def _answer(result: object) -> bytes:
    if not isinstance(result, WorkerResult):
        return done_line(success=False, error=f"execute() returned {type(result).__name__}, not a WorkerResult")
    error = None if result.success else (result.error or "the plugin gave no reason")
    return done_line(
        success=result.success,
        value=result.value,
        result_ref=result.result_ref,
        error=error,
        retryable=result.retryable,
    )


async def _execute(start: Start, sender: _Sender) -> object:
    """Return what the plugin returned, or a WorkerResult that says how it failed."""
    try:
        plugin = _plugin_class(start.job_type)()
        output_dir = Path.cwd() / "output"
        output_dir.mkdir(exist_ok=True)
        enter_job(JobContext(start.job_id, output_dir, sender.progress, _inputs(start.inputs)))
        return await plugin.execute(start.job_id, start.payload)
    except PluginError as error:
        return WorkerResult(success=False, error=str(error))
    except trio.Cancelled:  # what runs the plugin is broken, and will say so
        raise
    except BaseException as error:  # the plugin may raise anything, SystemExit included
        cause = _cause(error)
        if _is_limit(cause):
            raise cause from None
        return _failure(cause)


def _inputs(directory: str | None) -> dict[str, Path]:
    return {} if directory is None else {path.name: path for path in sorted(Path(directory).iterdir())}


def _plugin_class(job_type: str) -> type[BaseWorkerPlugin]:
    if job_type not in _discovered.plugins:
        raise PluginError(f"this node has no plugin for job type {job_type!r}")
    return load(job_type, _discovered.plugins[job_type])


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # a nursery wraps what its tasks raise
    return error


def _is_limit(error: BaseException) -> bool:
    """Say whether this is how a limit of the sandbox on memory or disk looks from inside."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return full or isinstance(error, MemoryError)


def _failure(error: BaseException) -> WorkerResult:
    try:
        text = one_line(str(error))
    except Exception:  # the exception is the plugin's, and so is its __str__
        text = ""
    if isinstance(error, RejectJob):
        return WorkerResult(success=False, error=text, retryable=False)
    if isinstance(error, SystemExit):
        return WorkerResult(success=False, error=f"the plugin ended the process with sys.exit({text})")
    if not _is_limit(error):  # whose end of the process prints it
        with contextlib.suppress(Exception):  # stderr may be closed; the reason itself goes over the channel
            traceback.print_exception(error)
    name = type(error).__name__
    return WorkerResult(success=False, error=f"{name}: {text}" if text else name)


class _Sender:
    """Writes to the channel: progress when there is room and it is not too soon, the result in any case."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._unsent = b""  # the rest of a line that went out in part
        self._pending = b""  # the newest progress line that has not gone out
        self._next_at = 0.0

    def progress(self, fraction: float | None, text: str = "") -> None:
        line = progress_line(fraction, text)
        with self._lock:
            self._pending = line
            if time.monotonic() >= self._next_at:
                self._flush()

    def finish(self, done: bytes) -> None:
        with self._lock:
            try:
                self._channel.setblocking(True)
                self._channel.sendall(self._unsent + self._pending + done)
            except OSError:
                return  # the agent is gone, and with it whoever wanted to know

    def _flush(self) -> None:
        data = self._unsent + self._pending
        try:
            sent = self._channel.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:
            sent = len(data)  # the agent is gone: drop it
        if sent >= len(self._unsent):
            # Part of the pending line is out, so the rest of it must follow before anything else.
            self._unsent, self._pending = data[sent:], b""
        else:
            self._unsent = self._unsent[sent:]
        self._next_at = time.monotonic() + PROGRESS_INTERVAL_S

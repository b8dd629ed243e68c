"""Runs an attempt in a sandbox and talks with the plugin in it; the ``Executor`` of a real node.

The job's process may be hostile: what it says over the channel is checked there, what it prints is bounded, and how
it ended is the supervisor's word, not its own.  Every box is closed before ``run`` returns; nothing of the job is left.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
import trio

from edgeagent.errors import EdgeAgentError
from edgeagent.node import machine
from edgeagent.node.executor import Finished
from edgeagent.node.gpus import Lent
from edgeagent.node.outcomes import judge
from edgeagent.node.reporter import Reporter
from edgeagent.node.slots import default_slots
from edgeagent.plugins.channel import ChannelError, Done, LineDecoder, Progress, start_line
from edgeagent.plugins.loading import PLUGIN_DIR_VARIABLE
from edgeagent.wire import messages
from edgeagent.wire.messages import Confinement, JobDispatch, JobProgress, Outcome, Output, Usage
from edgesandbox import Box, Limits, OutputRefused, Report, SandboxUnavailable, SetupFailed, Spec, Zygote, confine

log = structlog.get_logger()

#: Seconds beyond the wall-clock limit, or after a request to stop, until the agent kills what its supervisor did not.
BACKSTOP_S = 10.0
#: Seconds that a job asked to stop has to end by itself.  Nobody wants its result any more; a second after the request
#: nothing of it shall run, and the way to here takes some of that.
STOP_S = 0.5
#: Seconds that what a dead job has said may take to be read.
DRAIN_S = 5.0
#: Seconds between two progress messages of one attempt.
REPORT_S = 0.2
#: Most files that a job may leave, and the most bytes of their names together: the result that lists them is one frame.
MAX_FILES = 1000
MAX_NAMES_BYTES = 128 << 10
#: Most sandboxes kept ready; each takes a few MiB (docs/sandbox.md), and a third job at once can wait for a cold one.
MOST_WARM = 2
_READ_BYTES = 64 << 10
_COPY_BYTES = 1 << 20
NO_GPUS = Lent()


class SandboxExecutor:
    """Runs each attempt in a box of its own from one zygote."""

    def __init__(self, zygote: Zygote, lent: Lent = NO_GPUS) -> None:
        self._zygote = zygote
        self._lent = lent
        self.make_room: Callable[[int], int] = lambda wanted_bytes: 0  # drops what the disk can do without
        self._restart = threading.Lock()

    @property
    def tier(self) -> str:
        """The sandbox's tier."""
        return self._zygote.tier

    @property
    def shows_inputs(self) -> bool:
        """Whether jobs can be given input files on this host."""
        return self._zygote.inputs_at("any") is not None

    async def run(
        self,
        dispatch: JobDispatch,
        *,
        progress: Callable[[JobProgress], None],
        stop: trio.Event,
        outputs: Path,
        gpus: tuple[str, ...] = (),
        inputs: str | None = None,
    ) -> Finished:
        """Run one attempt to its end (see ``supplied.Confined.run``)."""
        try:
            shown = None if inputs is None else self._zygote.inputs_at(inputs)
            start = start_line(dispatch.job_id, dispatch.job_type, dispatch.payload, shown)
            spec = Spec(limits=_limits(dispatch.limits), grant=self._lent.grant(gpus), inputs=inputs)
        except (ChannelError, ValueError) as error:
            return Finished(outcome=Outcome.REJECTED, detail=str(error))
        try:
            box = await trio.to_thread.run_sync(self._spawn, spec)
        except (SetupFailed, SandboxUnavailable) as error:
            return Finished(outcome=Outcome.SETUP_FAILED, detail=f"the sandbox could not be set up: {error}")
        try:
            talk = _Talk(box, Reporter(dispatch.attempt_id), progress)
            report = await talk.run(start, stop, dispatch.limits.wall_s)
            if report is None:
                return Finished(outcome=Outcome.SETUP_FAILED, detail="the sandbox did not report how the job ended")
            return await self._finish(box, report, talk, dispatch.limits, outputs)
        finally:
            if not box.closed:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(box.close)

    async def _finish(self, box: Box, report: Report, talk: _Talk, limits: messages.Limits, outputs: Path) -> Finished:
        outcome, detail = judge(report, talk.done, talk.fault, limits)
        listed: tuple[Output, ...] = ()
        if outcome is Outcome.COMPLETED:
            try:
                listed = await trio.to_thread.run_sync(self._keep_outputs, box, outputs, limits.scratch_bytes)
            except OutputRefused as error:
                outcome, detail = Outcome.FAILED, f"the output files cannot be taken: {error}"
            except OSError as error:
                outcome, detail = Outcome.SETUP_FAILED, f"the output files could not be stored: {error.strerror}"
        completed = talk.done if outcome is Outcome.COMPLETED else None
        return Finished(
            outcome=outcome,
            detail=detail[:1000],
            value=completed.value if completed else None,
            result_ref=completed.result_ref if completed else None,
            outputs=listed,
            usage=Usage(wall_s=report.wall_s, cpu_s=report.cpu_s, memory_peak_bytes=report.memory_peak_bytes),
            sandbox=Confinement(tier=report.tier, enforced=report.enforced, not_enforced=dict(report.not_enforced)),
        )

    def _keep_outputs(self, box: Box, outputs: Path, max_bytes: int) -> tuple[Output, ...]:
        """Copy what the job left, where the disk is full once more when there is room; then close its box.

        One visit to a thread for both: the way there is a good part of what a short job takes.
        """
        with contextlib.closing(box):
            try:
                return _copy_outputs(box, outputs, max_bytes)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.make_room(max_bytes):
                    raise
            for left in outputs.iterdir():
                left.unlink()
            return _copy_outputs(box, outputs, max_bytes)

    def _spawn(self, spec: Spec) -> Box:
        """Return a box; where the zygote has died (somebody killed it), start another one first."""
        try:
            return self._zygote.spawn(spec)
        except SetupFailed as error:
            with self._restart:
                if not self._zygote.alive:
                    log.warning("Sandbox restarted", reason=str(error))
                    self._zygote.restart()
            return self._zygote.spawn(spec)


@contextlib.contextmanager
def zygote_for(
    plugin_dir: Path,
    warm: int | None = None,
    *,
    cores: float | None = None,
    lent: Lent = NO_GPUS,
    shelf: Path | None = None,
    allow_tier_c: bool = False,
) -> Iterator[Zygote]:
    """Start the process that jobs are forked from, and end it afterwards; to be done before a secret is read.

    Args:
        plugin_dir: the operator's own plugins, in the node's home; jobs may read it and nothing else there.
        warm: how many sandboxes to keep ready for jobs with the usual limits; unset, one for each slot that a machine
            like this has by default, up to ``MOST_WARM``.
        cores: how many processors all jobs use together; unset, all that this process may use.
        lent: all GPUs that jobs may ever get.
        shelf: where jobs' input files are laid out (``cache.make_shelf``); unset, they get none.
        allow_tier_c: on a host without namespaces, be content with the sandbox's weakest tier.

    Raises:
        EdgeAgentError: this host cannot confine jobs, or has fewer processors; says what is missing and what to type.
    """
    slots = default_slots(machine.cores(cores))
    shown = [plugin_dir] if plugin_dir.is_dir() else []
    zygote = Zygote(
        entry="edgeagent.plugins.child:main",
        waits=True,
        read_only=shown,
        env={PLUGIN_DIR_VARIABLE: str(plugin_dir)} if shown else {},
        hidden=[plugin_dir.parent],
        grants=lent.grants,
        shelf=shelf,
        cores=cores,
        warm=min(slots, MOST_WARM) if warm is None else warm,
        warm_limits=_limits(messages.Limits()),
        tier_c="allow" if allow_tier_c else "refuse",
    )
    try:
        zygote.start()
    except SandboxUnavailable as error:
        raise EdgeAgentError(f"jobs cannot be confined on this machine: {error}") from None
    if os.geteuid() != 0:
        confine.drop_capabilities()  # lent for the launcher to map ids with; the agent itself is an ordinary user
    if zygote.tier == "C":
        log.warning("Jobs are confined less than they could be: this host gives no namespaces", tier=zygote.tier)
    with contextlib.closing(zygote):
        yield zygote


class _Talk:
    """One box's life from the start line to its report."""

    def __init__(self, box: Box, reporter: Reporter, progress: Callable[[JobProgress], None]) -> None:
        self._box = box
        self._reporter = reporter
        self._progress = progress
        self.done: Done | None = None
        self.fault: str | None = None

    async def run(self, start: bytes, stop: trio.Event, wall_s: float) -> Report | None:
        """Return the supervisor's report, or None if there was none in time."""
        channel = trio.SocketStream(trio.socket.from_stdlib_socket(self._box.channel.dup()))
        printed = trio.lowlevel.FdStream(os.dup(self._box.output_fd))
        async with channel, printed, trio.open_nursery() as nursery:
            backstop = trio.CancelScope(deadline=trio.current_time() + wall_s + BACKSTOP_S)
            nursery.start_soon(self._flush)
            nursery.start_soon(self._stop, stop, backstop)
            async with trio.open_nursery() as talking:
                talking.start_soon(self._say, channel, start)
                talking.start_soon(self._listen, channel)
                talking.start_soon(self._print, printed)
                report = await self._report(backstop)
                talking.cancel_scope.deadline = trio.current_time() + DRAIN_S
            nursery.cancel_scope.cancel()
        self._send_progress()
        return report

    async def _report(self, backstop: trio.CancelScope) -> Report | None:
        with backstop:
            await trio.lowlevel.wait_readable(self._box.control)
            return self._box.read_report()  # is there, so this waits for nothing and needs no thread
        await trio.to_thread.run_sync(self._box.kill)
        return None

    async def _say(self, channel: trio.SocketStream, start: bytes) -> None:
        try:
            await channel.send_all(start)
        except trio.BrokenResourceError:
            return  # the process is gone; its report says how

    async def _listen(self, channel: trio.SocketStream) -> None:
        decoder = LineDecoder()
        try:
            while data := await channel.receive_some(_READ_BYTES):
                for message in decoder.feed(data):
                    self._heard(message)
            decoder.eof()
        except ChannelError as error:
            self.fault = str(error)
            await trio.to_thread.run_sync(self._box.cancel)
        except trio.BrokenResourceError:
            return

    def _heard(self, message: object) -> None:
        if self.done is not None:
            return
        if isinstance(message, Done):
            self.done = message
        elif isinstance(message, Progress):
            self._reporter.progress(message.fraction, message.text)

    async def _print(self, printed: trio.lowlevel.FdStream) -> None:
        while data := await printed.receive_some(_READ_BYTES):
            self._reporter.output(data)
        self._reporter.output(b"", final=True)

    async def _flush(self) -> None:
        while True:
            await trio.sleep(REPORT_S)
            self._send_progress()

    def _send_progress(self) -> None:
        message = self._reporter.take()
        if message is not None:
            self._progress(message)

    async def _stop(self, stop: trio.Event, backstop: trio.CancelScope) -> None:
        await stop.wait()
        backstop.deadline = min(backstop.deadline, trio.current_time() + BACKSTOP_S)
        await trio.to_thread.run_sync(self._box.cancel)
        await trio.sleep(STOP_S)
        await trio.to_thread.run_sync(self._box.kill)


def _copy_outputs(box: Box, outputs: Path, max_bytes: int) -> tuple[Output, ...]:
    listed: list[Output] = []
    names_bytes = 0
    for file in box.collect("output", max_files=MAX_FILES, max_bytes=max_bytes):
        names_bytes += len(file.name.encode())
        if names_bytes > MAX_NAMES_BYTES:
            raise OutputRefused(f"their names take more than {MAX_NAMES_BYTES} bytes together")
        digest, size_bytes = _copy(file.fd, outputs / str(len(listed)))
        listed.append(Output(name=file.name, size_bytes=size_bytes, sha256=digest))
    return tuple(listed)


def _copy(source: int, target: Path) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with target.open("xb") as file:
        while piece := os.read(source, _COPY_BYTES):
            digest.update(piece)
            file.write(piece)
            size_bytes += len(piece)
    return digest.hexdigest(), size_bytes


def _limits(wanted: messages.Limits) -> Limits:
    return Limits(
        wall_s=wanted.wall_s,
        cpu_s=wanted.cpu_s,
        memory_bytes=wanted.memory_bytes,
        pids=wanted.pids,
        fsize_bytes=wanted.scratch_bytes,
        scratch_bytes=wanted.scratch_bytes,
        tmp_bytes=wanted.tmp_bytes,
        output_bytes=wanted.output_bytes,
    )

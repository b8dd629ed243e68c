"""The watch over one running job: clock, output, cancel, and the account of how it ended.

Runs in PID 1 of the job's namespace.  What ends a job is decided here; what that is called, in ``report.classify``.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Sequence
from typing import NoReturn

from edgesandbox import footprint, job, linux, passing
from edgesandbox.group import Group
from edgesandbox.report import Ending, Outcome
from edgesandbox.spec import Limits
from edgesandbox.tree import Namespace, Tree, Usage, proportional_bytes

# A cancelled job may tidy up for this long.
GRACE_S = 2.0
# How often the watchdog looks at most and at least, unless it would cost more than a tenth of the time.
LOOK_EVERY_S = 0.25
LOOK_SOONEST_S = 0.02
# What a job is taken to allocate in a second at most: two to four processors that touch new pages and do nothing else.
ALLOCATED_BYTES_PER_S = 4 << 30
# So that the kernel's own SIGXCPU, which a program may handle, comes first where one process has used it all.
CPU_SLACK_S = 0.5
# How long the last output is offered to an agent that does not read it.
LAST_OUTPUT_S = 10.0
_CHUNK_BYTES = 65_536


class Relay:
    """Passes the job's output on to the agent, and counts it; never holds more than one chunk."""

    def __init__(self, source: int, sink: int, limit_bytes: int) -> None:
        """Take the two pipes over; what is past ``limit_bytes`` is dropped."""
        self.source = source
        self.sink = sink
        self.pending = b""
        self.ended = False
        self._left_bytes = limit_bytes
        os.set_blocking(source, False)
        os.set_blocking(sink, False)

    @property
    def over(self) -> bool:
        """Say whether the job wrote more than it may."""
        return self._left_bytes < 0

    def fill(self) -> None:
        """Take what the job wrote, if the last chunk is gone."""
        if self.pending or self.ended:
            return
        try:
            data = os.read(self.source, _CHUNK_BYTES)
        except BlockingIOError:
            return
        self.ended = not data
        self.pending = data[: max(self._left_bytes, 0)]
        self._left_bytes -= len(data)

    def drain(self) -> None:
        """Give the agent what it takes; an agent that has closed its end takes everything."""
        try:
            while self.pending:
                self.pending = self.pending[os.write(self.sink, self.pending) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self.pending = b""


def first_look_s(limits: Limits) -> float:
    """Return how long after the start the agent's timer wakes the supervisor."""
    return min(LOOK_EVERY_S, limits.wall_s)


def pause_s(left_bytes: int, cost_s: float) -> float:
    """Return how long after a look the next one is due.

    Args:
        left_bytes: what the job may still allocate, as far as the watchdog has to see to that.
        cost_s: processor time that the look took.
    """
    soon = max(LOOK_SOONEST_S, left_bytes / ALLOCATED_BYTES_PER_S)
    return max(min(LOOK_EVERY_S, soon), 10 * cost_s)


class Supervisor:
    """Watches the job ``pid`` until nothing of it is left.

    A job that waits to be handed out costs nothing, and its start wakes nobody but itself: the agent sets ``timer`` for
    our first look, and from what is left of that we know the time of the start when something wakes us.
    """

    def __init__(
        self,
        *,
        pid: int,
        limits: Limits,
        control: socket.socket,
        words: int,
        start: int,
        timer: int,
        relay: Relay,
        disks: Sequence[int],
        group: Group | None,
        built_cpu_s: float = 0.0,
        on_disk: bool = False,
        tree: Tree | None = None,
        lifeline: int | None = None,
    ) -> None:
        """Take the job over.

        Args:
            pid: the job's first process.
            limits: what it may use.
            control: to the agent.
            words: what the job's process says.
            start: its end of the pipe that it is started by.
            timer: set by the agent when it starts the job.
            relay: the job's output.
            disks: descriptors of its scratch and /tmp.
            on_disk: whether its scratch is a directory on disk, which no kernel limit bounds.
            group: its control group.
            built_cpu_s: processor seconds that the group had used before the job's process was forked.
            tree: its processes; unset, those of this PID namespace.
            lifeline: a pipe whose end means that everything is to end.
        """
        self.pid = pid
        self.limits = limits
        self.control = control
        self.words = words
        self.start = start
        self.timer = timer
        self.relay = relay
        self.disks = disks
        self.on_disk = on_disk
        self.group = group
        self.tree = tree or Namespace()
        self.lifeline = lifeline
        self.built_cpu_s = built_cpu_s
        self.status: int | None = None
        self.stopped_for: Outcome | None = None
        self.children = linux.signal_descriptor(signal.SIGCHLD)
        self.peak_bytes = 0
        self.started: float | None = None
        self.kill_at = self.look_at = float("inf")

    def watch(self) -> None:
        """Return when the job's first process has ended; kill it where it must not go on."""
        while self.status is None:
            ready = self._wait(min(self.kill_at, self.look_at))
            if self.started is None:
                self._notice_start()
            self._serve(ready)
            self.relay.drain()
            if self.relay.over:
                self._stop(Outcome.OUTPUT_LIMIT)
            if time.monotonic() >= self.look_at:
                self._look()
            if time.monotonic() >= self.kill_at and self.status is None:
                self._stop(Outcome.TIMEOUT)

    def _serve(self, ready: list[int]) -> None:
        for fd in ready:
            if fd == self.children:
                self._reap()
            elif fd == self.control.fileno():
                self._obey()
            elif fd == self.relay.source:
                self.relay.fill()
            elif fd == self.lifeline:
                self._vanish()

    def _wait(self, until: float) -> list[int]:
        poll = select.poll()
        if self.started is None:
            poll.register(self.timer, select.POLLIN)
        poll.register(self.children, select.POLLIN)
        poll.register(self.control, select.POLLIN)
        if self.lifeline is not None:
            poll.register(self.lifeline, select.POLLIN)
        if self.relay.pending:
            poll.register(self.relay.sink, select.POLLOUT)
        elif not self.relay.ended:
            poll.register(self.relay.source, select.POLLIN)
        timeout_ms = None if until == float("inf") else max(0.0, until - time.monotonic()) * 1000 + 1
        return [fd for fd, _event in poll.poll(timeout_ms)]

    def _notice_start(self) -> None:
        """Start the clock, as of when the agent started the job."""
        left_s = linux.timer_left_s(self.timer)
        if left_s is not None:
            self.started = time.monotonic() + left_s - first_look_s(self.limits)
            self.kill_at = min(self.kill_at, self.started + self.limits.wall_s)
            self.look_at = self.started + LOOK_EVERY_S

    def _reap(self) -> None:
        """Collect whoever died: the job, or orphans it left to us."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.children, 4096)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.pid:
                    self.status = status

    def _look(self) -> None:
        """Stop a job whose processes together use more than it may."""
        before_s = time.process_time()  # on a busy machine, time passes that looking does not cost
        cpu_s = self._group_cpu_s()
        counted = self.group is not None and self.group.counts_memory
        used_bytes = 0
        left_bytes = self.limits.memory_bytes
        if cpu_s is None or not counted:
            usage = self.tree.look()
            if not counted:
                used_bytes = self._sampled_bytes(usage)
                left_bytes -= used_bytes
            if cpu_s is None:
                ended = resource.getrusage(resource.RUSAGE_CHILDREN)
                cpu_s = usage.cpu_s + ended.ru_utime + ended.ru_stime
        if used_bytes > self.limits.memory_bytes or (self.group and self.group.out_of_memory(self.limits.memory_bytes)):
            self._stop(Outcome.MEMORY_LIMIT)
        elif cpu_s > self.limits.cpu_s + CPU_SLACK_S:
            self._stop(Outcome.CPU_LIMIT)
        elif (over := self._over()) is not None:
            self._stop(over)
        self.look_at = time.monotonic() + pause_s(left_bytes, time.process_time() - before_s)

    def _over(self) -> Outcome | None:
        """Return the limit that no kernel keeps and that the job is over."""
        if self.on_disk and footprint.is_over(self.disks[0], self.limits):
            return Outcome.DISK_LIMIT
        return self.tree.over(self.limits)

    def _group_cpu_s(self) -> float | None:
        cpu_s = self.group.cpu_s() if self.group else None
        return None if cpu_s is None else cpu_s - self.built_cpu_s

    def _sampled_bytes(self, usage: Usage) -> int:
        """Return at least what they use; the exact figure, which costs more, where it may be too much or the most."""
        used_bytes = usage.rss_bytes
        if used_bytes > min(self.limits.memory_bytes, self.peak_bytes):
            used_bytes = proportional_bytes(usage)
        self.peak_bytes = max(self.peak_bytes, used_bytes)
        return used_bytes

    def _obey(self) -> None:
        """Cancel the job as the agent asks; without an agent, end at once with all that is in here."""
        try:
            message, _ = passing.receive(self.control)
        except OSError:
            message = None
        if message is None or message.get("kill"):
            self._vanish()
        if self.stopped_for is None:
            self.stopped_for = Outcome.CANCELLED
            self.kill_at = min(self.kill_at, time.monotonic() + GRACE_S)
            self.tree.signal(signal.SIGTERM)

    def _vanish(self) -> NoReturn:
        """End with the whole job and without a report."""
        self.tree.signal(signal.SIGKILL)
        os._exit(1)

    def _stop(self, reason: Outcome) -> None:
        self.stopped_for = self.stopped_for or reason
        self.kill_at = time.monotonic() + 1.0  # again, should a process be stuck in the kernel
        self.tree.signal(signal.SIGKILL)

    def finish(self) -> Ending:
        """Kill and reap whoever outlived the job, and account for all of them."""
        assert self.status is not None
        ended = time.monotonic()
        self.tree.signal(signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        confined, before_s, words = self._last_words()
        ran = confined and self.started is not None and not _read_now(self.start)  # the byte that it starts by
        cpu_s = self._group_cpu_s()
        if cpu_s is None:
            cpu_s = used.ru_utime + used.ru_stime
        cpu_s = max(0.0, cpu_s - before_s)
        source = self.group.peak_source if self.group else 0
        peak_bytes = self.group.peak_bytes() if self.group and source else max(self.peak_bytes, used.ru_maxrss * 1024)
        self.relay.fill()
        if self.relay.over and self.stopped_for is None:
            self.stopped_for = Outcome.OUTPUT_LIMIT
        stopped_for = self.stopped_for or self._over()  # it may have been quicker than the next look
        detail = b""
        if not ran and stopped_for is None:
            stopped_for, detail = Outcome.SETUP_FAILED, words or b"the job's process died before it was started"
        return Ending(
            status=self.status,
            stopped_for=stopped_for,
            oom_killed=self.group is not None and self.group.out_of_memory(self.limits.memory_bytes),
            out_of_memory=ran and job.OUT_OF_MEMORY in words,
            disk_full=any(footprint.is_full(os.fstatvfs(disk)) for disk in self.disks),
            cpu_s=cpu_s,
            cpu_limit_s=self.limits.cpu_s,
            wall_s=ended - self.started if self.started is not None else 0.0,
            memory_peak_bytes=peak_bytes,
            memory_source=source,
            detail=detail.decode(errors="replace"),
        )

    def _last_words(self) -> tuple[bool, float, bytes]:
        """Return whether the job was confined, what that took of the processor, and what else it had to say."""
        words = _read_now(self.words)
        if not words.startswith(b"\0"):
            return False, 0.0, words
        (before_s,) = job.CONFINED.unpack_from(words)
        return True, before_s, words[job.CONFINED.size :]

    def deliver_output(self) -> None:
        """Hand on what the pipes still hold, as long as the agent is there and takes it."""
        end = time.monotonic() + LAST_OUTPUT_S
        poll = select.poll()
        poll.register(self.relay.sink, select.POLLOUT)
        poll.register(self.control, select.POLLIN)
        while time.monotonic() < end:
            before = self.relay.pending
            self.relay.fill()
            if not self.relay.pending and not before:
                return
            self.relay.drain()
            if self.relay.pending and self.control.fileno() in (fd for fd, _ in poll.poll(1000)):
                return


def _read_now(pipe: int) -> bytes:
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 4096)
    except BlockingIOError:
        return b""

"""The agent's end of one sandbox: what starts its job, its channel and output, its end and its report."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from edgesandbox import linux, outputs, passing
from edgesandbox.report import Outcome, Report, compose


class Go:
    """What starts the job of one box: a timer for its supervisor and, once that is set, a byte for its process."""

    def __init__(self, first_look_s: float) -> None:
        """Make timer and pipe; ``start`` is the end of the pipe that goes into the sandbox, as the timer does."""
        self.timer = linux.timer_descriptor()
        self._set_timer = linux.timer_setter(self.timer, first_look_s)
        self.start, self._byte = os.pipe()

    def say(self) -> bool:
        """Start the job; False where nobody is there to hear it."""
        self._set_timer()
        try:
            return os.write(self._byte, b"1") == 1
        except BrokenPipeError:
            return False

    def close(self) -> None:
        """Give everything back, once; who waits for the byte ends."""
        passing.close_all([self.timer, self._byte])


class Box:
    """One sandbox with one job in it; ``Zygote.spawn`` makes them.

    Attributes:
        channel: our end of the stream that the job's entry function was called with.
        output_fd: the job's stdout and stderr, to be read until its end.
        control: readable when the Report is there.
        scratch_fd: the job's ``/scratch``; read it only after the Report, and what is in it with ``collect``.
    """

    def __init__(
        self,
        *,
        channel: socket.socket,
        output_fd: int,
        control: socket.socket,
        fds: Sequence[int],
        go: Go,
        tier_c: bool = False,
        opener: outputs.Opener = linux.open_beneath,
    ) -> None:
        """Take over what the sandbox's supervisor sent: its pidfd, the scratch and, on disk, what keeps that there.

        In tier C, its own end would not be that of all others.  Files of the job are opened by ``opener``.
        """
        self._pidfd, scratch, *self._held = fds
        self.channel = channel
        self.output_fd = output_fd
        self.control = control
        self.scratch_fd = scratch
        self.on_close: Callable[[], None] | None = None  # the pool's: there may be room for another
        self._go = go
        self._tier_c = tier_c
        self._opener = opener
        self._report: Report | None = None
        self._killed = False
        self._closed = False

    def start(self) -> bool:
        """Start the job; to be called once, by whoever hands the box out.  False where its process is gone already."""
        return self._go.say()

    def read_report(self) -> Report:
        """Return how the job ended; waits for that unless ``control`` is readable.

        A sandbox that was killed, or whose supervisor was, has no report of its own; the one returned says so.
        """
        if self._report is None:
            try:
                message, _ = passing.receive_bytes(self.control)
            except ConnectionError:
                message = b""
            self._report = compose(message) if message else self._without_report()
        return self._report

    def collect(self, directory: str, *, max_files: int, max_bytes: int) -> Iterator[outputs.CollectedFile]:
        """Yield the files that the job has left in a directory of its scratch, as ``outputs.collect`` reads them.

        To be called after the Report, for a living job could change what has been looked at.
        """
        return outputs.collect(
            self.scratch_fd, directory, max_files=max_files, max_bytes=max_bytes, opener=self._opener
        )

    def _without_report(self) -> Report:
        if self._killed:
            return Report(outcome=Outcome.CANCELLED, detail="killed")
        return Report(
            outcome=Outcome.SETUP_FAILED,
            detail="the sandbox's supervisor died without a report; something outside killed it or its zygote",
        )

    def cancel(self) -> None:
        """Ask the job to end: SIGTERM, and SIGKILL two seconds later; the Report follows."""
        with contextlib.suppress(OSError):
            passing.send(self.control, {"cancel": True})

    def kill(self) -> None:
        """End every process of the sandbox at once."""
        self._killed = True
        if self._tier_c:
            with contextlib.suppress(OSError):  # it has ended already
                passing.send(self.control, {"kill": True})
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    @property
    def closed(self) -> bool:
        """Whether everything was given back."""
        return self._closed

    def close(self) -> None:
        """Kill what still runs and give everything back; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self.kill()
        self._go.close()
        self.channel.close()
        self.control.close()
        for fd in (self.output_fd, self.scratch_fd, self._pidfd, *self._held):
            os.close(fd)
        if self.on_close is not None:
            self.on_close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

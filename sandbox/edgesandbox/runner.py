"""``edgesandbox run``: one program in one sandbox, its streams carried through, its report returned.

What cannot be built is a Report too, with outcome ``setup_failed``.  A signal to this process, or a reader of the
output that goes away, cancels the program: it gets SIGTERM, and two seconds to end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import socket
from types import FrameType

from edgesandbox import gpus, networks
from edgesandbox.box import Box
from edgesandbox.client import Zygote
from edgesandbox.errors import SandboxUnavailable, SetupFailed
from edgesandbox.order import Order
from edgesandbox.report import Outcome, Report
from edgesandbox.spec import Spec
from edgesandbox.streams import Streams

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Milliseconds after which a wait begins anew: Python acts on a signal that came right before one only after it.
_LOOK_MS = 500
EXIT_TIMEOUT, EXIT_BROKEN, EXIT_CANCELLED, EXIT_LIMIT = 124, 125, 130, 137


class _InterruptedError(Exception):
    """A signal came before there was a program to cancel."""


def run(order: Order) -> Report:
    """Run the program to its end; its output goes to our stdout and stderr as it comes.

    Descriptors 0, 1 and 2 are open.
    """
    runner = _Runner(order)
    before = {number: signal.signal(number, runner.interrupt) for number in _SIGNALS}
    before[signal.SIGTTIN] = signal.SIG_DFL
    try:
        return runner.run()
    except (SandboxUnavailable, SetupFailed) as failure:
        return Report(outcome=Outcome.SETUP_FAILED, detail=str(failure))
    except _InterruptedError:
        return Report(outcome=Outcome.CANCELLED, detail="before the program was started")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Runner:
    """One run: the signals that reach it, and what they are to end."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._box: Box | None = None
        self._signals = 0

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Cancel the program; a second signal kills it."""
        self._signals += 1
        if self._box is None:
            raise _InterruptedError
        if self._signals == 1:
            self._box.cancel()
        else:
            self._box.kill()

    def run(self) -> Report:
        """Build the sandbox, start the program, attend to it, and return how it ended."""
        order = self._order
        grant = gpus.grant(gpus.choose(order.gpus))
        zygote = Zygote(
            entry="edgesandbox.program:main",
            binds=order.binds,
            network=networks.HOST if order.network == "host" else networks.LOOPBACK,
            grants=[grant],
            tier_c=order.tier_c,
            scratch_directory=order.scratch_directory,
        )
        with zygote, zygote.spawn(Spec(limits=order.limits, grant=grant)) as box:
            self._box = box
            streams = Streams(order.limits.output_bytes)
            self._tell(box, streams)
            signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # in the background, a terminal reads as an end
            streams.serve(box.cancel)
            self._watch(box, streams)
            report = box.read_report()
            while not streams.wait(0.5):
                if self._signals:  # who reads our output has stopped, and we are to end
                    break
            _repeat(box.output_fd)
            return _final(report, streams, _complaint(box.channel))

    def _tell(self, box: Box, streams: Streams) -> None:
        order = self._order
        wanted = {"argv": list(order.argv), "env": dict(order.env), "directory": order.directory}
        with contextlib.suppress(ConnectionError):  # a job that was not confined is not there to listen
            socket.send_fds(box.channel, [b"\0"], streams.inside)
            box.channel.sendall(json.dumps(wanted).encode() + b"\n")

    @staticmethod
    def _watch(box: Box, streams: Streams) -> None:
        """Return when the report is there; cancel a program when nobody reads our stdout any more."""
        poll = select.poll()
        poll.register(box.control, select.POLLIN)
        poll.register(1, 0)  # tells of POLLERR: the last reader is gone
        while box.control.fileno() not in (ready := [fd for fd, _event in poll.poll(_LOOK_MS)]):
            if 1 in ready:
                poll.unregister(1)
                streams.unread = True
                box.cancel()


def _repeat(output_fd: int) -> None:
    """Pass on what the job said before it became the program."""
    os.set_blocking(output_fd, False)
    with contextlib.suppress(OSError):
        while data := os.read(output_fd, 65_536):
            os.write(2, data)


def _complaint(channel: socket.socket) -> str:
    """Return why the job did not become the program; empty where it did."""
    data = b""
    with contextlib.suppress(ConnectionError):  # it ended with something of ours unread
        while chunk := channel.recv(65_536):
            data += chunk
    return str(json.loads(data)) if data else ""


def _final(report: Report, streams: Streams, complaint: str) -> Report:
    """Return the supervisor's report with what only this side knows."""
    if complaint and report.outcome is Outcome.EXITED:
        return dataclasses.replace(report, outcome=Outcome.SETUP_FAILED, exit_code=None, detail=complaint)
    if streams.over and report.outcome in (Outcome.EXITED, Outcome.SIGNALLED, Outcome.CANCELLED):
        return dataclasses.replace(report, outcome=Outcome.OUTPUT_LIMIT, exit_code=None, detail="")
    if streams.unread and report.outcome in (Outcome.SIGNALLED, Outcome.CANCELLED):
        return dataclasses.replace(report, outcome=Outcome.CANCELLED, detail="nobody reads its output any more")
    return report


def exit_code(report: Report) -> int:
    """Return what the command ends with."""
    special = {
        Outcome.SETUP_FAILED: EXIT_BROKEN,
        Outcome.TIMEOUT: EXIT_TIMEOUT,
        Outcome.CANCELLED: EXIT_CANCELLED,
    }
    if report.outcome in special:
        return special[report.outcome]
    if report.outcome is Outcome.SIGNALLED and report.signal:
        return 128 + report.signal
    return report.exit_code or (0 if report.outcome is Outcome.EXITED else EXIT_LIMIT)


def document(report: Report) -> dict[str, object]:
    """Return the report as the JSON document that scripts read."""
    return {"schema": "edgesandbox.report/1", **report.to_json()}


def summary(report: Report) -> str:
    """Return the report as one line."""
    used = f"{report.wall_s:.2f} s, {report.cpu_s:.2f} s of processor, {report.memory_peak_bytes >> 20} MiB"
    detail = f" ({report.detail})" if report.detail else ""
    return f"edgesandbox: {report.outcome}{detail}; {used}; tier {report.tier or 'none'}"

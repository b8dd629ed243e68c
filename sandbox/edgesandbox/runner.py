"""``edgesandbox run``: one program in one sandbox, its output passed through, its report printed.

Exit code: the program's own; 124 its time was up; 125 the sandbox could not be built; 130 it was cancelled; 137 another
limit ended it; 128 and the signal's number where a signal did.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

from edgesandbox.client import Box, Zygote
from edgesandbox.errors import SandboxUnavailable, SetupFailed
from edgesandbox.report import Outcome, Report
from edgesandbox.spec import Limits, Spec

EXIT_TIMEOUT, EXIT_BROKEN, EXIT_CANCELLED, EXIT_LIMIT = 124, 125, 130, 137
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Return the bytes that ``2G``, ``256M``, ``64K`` or a plain number stand for.

    Raises:
        ValueError: it is none of these.
    """
    unit = _UNITS.get(text[-1:].upper(), 1)
    return int(float(text[:-1]) * unit) if unit > 1 else int(text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What to run, and how."""

    argv: Sequence[str]
    limits: Limits
    read_only: Sequence[str] = ()
    env: dict[str, str] = dataclasses.field(default_factory=dict)


def run(order: Order) -> Report:
    """Run the program to its end; its output goes to our stdout as it comes.

    What cannot be built is a Report too, with outcome ``setup_failed``.
    """
    zygote = Zygote(entry="edgesandbox.program:main", read_only=order.read_only)
    try:
        with zygote, zygote.spawn(Spec(limits=order.limits)) as box, _cancelled_by_signals(box):
            with contextlib.suppress(ConnectionError):  # a job that was not confined is not there to listen
                box.channel.sendall(json.dumps({"argv": list(order.argv), "env": order.env}).encode() + b"\n")
            _pass_through(box.output_fd)
            report = box.read_report()
            problem = box.channel.recv(65_536) if report.outcome is Outcome.EXITED else b""
    except (SandboxUnavailable, SetupFailed) as failure:
        return Report(outcome=Outcome.SETUP_FAILED, detail=str(failure))
    if problem:
        return dataclasses.replace(report, outcome=Outcome.SETUP_FAILED, exit_code=None, detail=json.loads(problem))
    return report


@contextlib.contextmanager
def _cancelled_by_signals(box: Box) -> Iterator[None]:
    def cancel(_number: int, _frame: FrameType | None) -> None:
        box.cancel()

    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_through(fd: int) -> None:
    while select.select([fd], [], []) and (data := os.read(fd, 65_536)):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


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

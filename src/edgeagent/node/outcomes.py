"""From what the sandbox and the plugin say to one outcome and one line for a person.  Pure.

The sandbox's report comes from outside the job and cannot be forged, so it wins: a job that was killed did not succeed,
whatever it said before.  Only a process that ended by itself may tell its own story.
"""

from __future__ import annotations

from edgeagent.plugins.channel import Done
from edgeagent.wire.messages import Limits, Outcome
from edgeagent.wire.units import format_size
from edgesandbox import Report
from edgesandbox.report import Outcome as Ended


def judge(report: Report, done: Done | None, channel_fault: str | None, limits: Limits) -> tuple[Outcome, str]:
    """Return how an attempt ended, and why in one line (empty when it completed).

    Args:
        done: what the plugin said, if anything.
        channel_fault: what was wrong with what it said, if anything.
    """
    if channel_fault is not None and done is None and report.outcome in (Ended.EXITED, Ended.CANCELLED):
        return Outcome.FAILED, f"the job's process said something that is not a result: {channel_fault}"
    if report.outcome is not Ended.EXITED:
        return Outcome(report.outcome.value), _killed(report, limits)
    if done is None or (done.success and report.exit_code != 0):
        when = "before giving a result" if done is None else "after giving its result"
        return Outcome.EXITED, f"the process exited with code {report.exit_code} {when}"
    if done.success:
        return Outcome.COMPLETED, ""
    if done.retryable:
        return Outcome.FAILED, done.error or "the plugin gave no reason"
    return Outcome.REJECTED, done.error or "the plugin gave no reason"


def _killed(report: Report, limits: Limits) -> str:
    said = {
        Ended.TIMEOUT: f"killed after {limits.wall_s:g} s (wall-clock limit)",
        Ended.CPU_LIMIT: f"killed after {limits.cpu_s:g} s of processor time (CPU limit)",
        Ended.MEMORY_LIMIT: f"ended at {format_size(limits.memory_bytes)} of memory (memory limit)",
        Ended.DISK_LIMIT: f"ended at {format_size(limits.scratch_bytes)} of files (disk limit)",
        Ended.OUTPUT_LIMIT: f"killed after printing {format_size(limits.output_bytes)} (output limit)",
        Ended.SETUP_FAILED: f"the sandbox could not be set up: {report.detail}",
    }
    return said.get(report.outcome) or f"the process was {report.detail or report.outcome.value}"

"""What sandbox and plugin say, as one outcome and one line."""

from __future__ import annotations

import pytest

from edgeagent.node.outcomes import judge
from edgeagent.plugins.channel import Done
from edgeagent.wire.messages import Limits, Outcome
from edgesandbox import Report
from edgesandbox.report import Outcome as Ended

CLEAN = Report(outcome=Ended.EXITED, exit_code=0)
GOOD = Done(success=True, value=1)


@pytest.mark.parametrize(
    ("report", "done", "fault", "expected"),
    [
        (CLEAN, GOOD, None, (Outcome.COMPLETED, "")),
        (CLEAN, GOOD, "noise after the result", (Outcome.COMPLETED, "")),
        (CLEAN, Done(success=False, error="ValueError: no"), None, (Outcome.FAILED, "ValueError: no")),
        (CLEAN, Done(success=False), None, (Outcome.FAILED, "the plugin gave no reason")),
        (CLEAN, Done(success=False, error="bad scene", retryable=False), None, (Outcome.REJECTED, "bad scene")),
        (CLEAN, None, None, (Outcome.EXITED, "the process exited with code 0 before giving a result")),
        (
            CLEAN,
            None,
            "a line is not JSON",
            (Outcome.FAILED, "the job's process said something that is not a result: a line is not JSON"),
        ),
        (
            Report(outcome=Ended.CANCELLED),
            None,
            "too long",
            (Outcome.FAILED, "the job's process said something that is not a result: too long"),
        ),
        (
            Report(outcome=Ended.EXITED, exit_code=3),
            None,
            None,
            (Outcome.EXITED, "the process exited with code 3 before giving a result"),
        ),
        (
            Report(outcome=Ended.EXITED, exit_code=3),
            GOOD,
            None,
            (Outcome.EXITED, "the process exited with code 3 after giving its result"),
        ),
        (
            Report(outcome=Ended.EXITED, exit_code=1),
            Done(success=False, error="OSError: [Errno 28] No space left on device"),
            None,
            (Outcome.FAILED, "OSError: [Errno 28] No space left on device"),
        ),
        (Report(outcome=Ended.TIMEOUT), GOOD, None, (Outcome.TIMEOUT, "killed after 300 s (wall-clock limit)")),
        (
            Report(outcome=Ended.CPU_LIMIT),
            None,
            None,
            (Outcome.CPU_LIMIT, "killed after 600 s of processor time (CPU limit)"),
        ),
        (
            Report(outcome=Ended.MEMORY_LIMIT),
            None,
            None,
            (Outcome.MEMORY_LIMIT, "ended at 2.0 GiB of memory (memory limit)"),
        ),
        (Report(outcome=Ended.DISK_LIMIT), None, None, (Outcome.DISK_LIMIT, "ended at 256 MiB of files (disk limit)")),
        (
            Report(outcome=Ended.OUTPUT_LIMIT),
            None,
            None,
            (Outcome.OUTPUT_LIMIT, "killed after printing 8.0 MiB (output limit)"),
        ),
        (
            Report(outcome=Ended.SIGNALLED, signal=11, detail="killed by SIGSEGV"),
            None,
            None,
            (Outcome.SIGNALLED, "the process was killed by SIGSEGV"),
        ),
        (Report(outcome=Ended.CANCELLED), None, None, (Outcome.CANCELLED, "the process was cancelled")),
        (
            Report(outcome=Ended.SETUP_FAILED, detail="no room"),
            None,
            None,
            (Outcome.SETUP_FAILED, "the sandbox could not be set up: no room"),
        ),
    ],
)
def test_the_supervisors_word_wins_over_the_jobs(
    report: Report, done: Done | None, fault: str | None, expected: tuple[Outcome, str]
) -> None:
    """A job that was killed did not succeed, whatever it had said."""
    assert expected == judge(report, done, fault, Limits())


@pytest.mark.parametrize("ended", list(Ended))
def test_every_ending_of_the_sandbox_is_an_outcome_of_the_wire(ended: Ended) -> None:
    """The two lists are kept by different packages."""
    assert judge(Report(outcome=ended, exit_code=1), None, None, Limits())[0] == Outcome(ended.value)

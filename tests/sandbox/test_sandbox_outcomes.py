"""Every outcome, also where two are close together or one imitates another."""

from __future__ import annotations

import os
import select
import signal

import pytest
from sandboxing import hear, report_of, say

from edgesandbox import Report, linux

MIB = 1 << 20
BURN = {"cpu_s": 1, "wall_s": 60}
SMALL = {"scratch_bytes": 2 * MIB}


def ending(report: Report) -> tuple[str, int | None, int | None]:
    return str(report.outcome), report.exit_code, report.signal


@pytest.mark.parametrize(
    ("program", "asked", "limits", "expected"),
    [
        # Exit codes that look like signals are exit codes.
        ("exit_with", 0, {}, ("exited", 0, None)),
        ("exit_with", 1, {}, ("exited", 1, None)),
        ("exit_with", 124, {}, ("exited", 124, None)),
        ("exit_with", 128 + 9, {}, ("exited", 137, None)),
        ("exit_with", 128 + 24, {}, ("exited", 152, None)),
        ("exit_with", 255, {}, ("exited", 255, None)),
        ("run_a_program", "exit 7", {}, ("exited", 7, None)),
        # Signals that nobody but the job sent are the job's.
        ("signal_itself", signal.SIGKILL, {}, ("signalled", None, 9)),
        ("signal_itself", signal.SIGTERM, {}, ("signalled", None, 15)),
        ("signal_itself", signal.SIGABRT, {}, ("signalled", None, 6)),
        ("signal_itself", signal.SIGSYS, {}, ("signalled", None, 31)),
        ("signal_itself", signal.SIGXCPU, {}, ("signalled", None, 24)),
        ("signal_itself", signal.SIGRTMAX, {}, ("signalled", None, 64)),
        ("run_a_program", "kill -9 $$", {}, ("signalled", None, 9)),
        ("lose_a_child", None, {}, ("exited", 0, None)),
        # Stopped is not ended.
        ("signal_itself", signal.SIGSTOP, {"wall_s": 0.5}, ("timeout", None, 9)),
        # Processor time: handled, ignored, not known of, or less than was allowed.
        ("handle_xcpu_and_leave", None, BURN, ("exited", 5, None)),
        ("handle_xcpu_and_go_on", None, BURN, ("cpu_limit", None, 9)),
        ("burn_in_a_program", None, BURN, ("cpu_limit", None, 24)),
        ("lower_its_limits", None, {"cpu_s": 30, "wall_s": 60}, ("signalled", None, 9)),
        # Memory: refused and not noticed, refused and coped with.
        ("fail_to_allocate", None, {}, ("memory_limit", 1, None)),
        ("fail_to_allocate_and_cope", None, {}, ("exited", 4, None)),
        # Disk: full in the end, freed again, no reason to fail.
        ("fill_and_fail", "keep", SMALL, ("disk_limit", 3, None)),
        ("fill_and_fail", "free", SMALL, ("exited", 3, None)),
        ("fill_and_fail", "cope", SMALL, ("exited", 0, None)),
        ("exceed_file_size", None, {"fsize_bytes": MIB}, ("disk_limit", None, 25)),
        # Output: exactly what is allowed.
        ("print_bytes", 40_000, {"output_bytes": 40_000}, ("exited", 0, None)),
        ("print_bytes", 100, {"output_bytes": 100}, ("exited", 0, None)),
    ],
)
def test_an_ending_has_its_name(run, program, asked, limits, expected):
    """And the exit code or the signal that goes with it."""
    assert expected == ending(run(f"fates:{program}", asked, **limits).report)


def test_one_byte_too_much_in_the_last_moment_is_the_output_limit(run):
    """Whether the job was gone by itself when that was seen or not."""
    for _ in range(10):
        assert "output_limit" == run("fates:print_bytes", 101, output_bytes=100).report.outcome


def test_a_timer_that_goes_off_while_it_is_looked_at_was_set():
    """Else a job that ends just then would be said never to have started."""
    timer = linux.timer_descriptor()
    try:
        assert linux.timer_left_s(timer) is None
        for microseconds in range(100, 400):
            linux.timer_setter(timer, microseconds / 1e6)()
            while (left_s := linux.timer_left_s(timer)) != 0.0:
                assert left_s is not None
    finally:
        os.close(timer)


def test_a_child_that_the_kernel_killed_for_memory_counts(run, zygote):
    """Though its parent lives and ends well at once; where no group counts it, such memory is not to be had at all."""
    report = run("fates:lose_a_child_to_the_kernel", memory_bytes=64 * MIB).report

    expected = "memory_limit" if "cgroup_memory" in zygote.enforced else "exited"
    assert expected == report.outcome


def test_a_job_that_ends_at_its_deadline_has_exited_or_timed_out(spawn):
    """One or the other, with what belongs to it; a few milliseconds before and after decide nothing else."""
    limit_s = 0.4
    seen = set()
    for offset_ms in (-200, -12, -6, -3, -2, -1, 0, 1, 2, 3, 200):
        box = spawn("fates:end_at", wall_s=limit_s)
        say(box, limit_s + offset_ms / 1000 - 0.002)
        report = report_of(box)
        assert ending(report) in {("exited", 0, None), ("timeout", None, 9), ("timeout", 0, None)}, offset_ms
        if report.outcome == "timeout":
            assert report.wall_s >= limit_s
        seen.add(report.outcome)

    assert {"exited", "timeout"} == seen


def test_a_cancel_that_comes_too_late_changes_nothing(spawn):
    """The report is there already; so it is with a kill."""
    for stop in ("cancel", "kill"):
        box = spawn("fates:exit_with")
        say(box, 7)
        assert select.select([box.control], [], [], 20)[0]
        getattr(box, stop)()

        assert ("exited", 7, None) == ending(report_of(box))


def test_a_cancel_while_the_job_ends_is_one_of_both(spawn):
    """Cancelled, or exited with the job's own code; the job that heard of it has been cancelled, whatever its code."""
    for _ in range(20):
        box = spawn("fates:exit_with")
        say(box, 7)
        box.cancel()
        assert report_of(box).outcome in {"exited", "cancelled"}
    box = spawn("fates:obey_sigterm")
    hear(box)
    box.cancel()

    assert ("cancelled", 0, None) == ending(report_of(box))


def test_a_cancelled_job_that_ignores_it_past_its_deadline_is_still_cancelled(spawn):
    """What came first is the reason."""
    box = spawn("hostile:deaf", wall_s=1.0)
    hear(box)
    box.cancel()

    assert ("cancelled", None, 9) == ending(report_of(box))


def test_a_job_that_was_killed_by_somebody_outside_is_said_to_be(spawn):
    """The supervisor's death is the sandbox's failure, never the program's."""
    box = spawn("hostile:sleep")
    hear(box)
    signal.pidfd_send_signal(box._pidfd, signal.SIGKILL)

    report = report_of(box)
    assert "setup_failed" == report.outcome
    assert "supervisor died" in report.detail

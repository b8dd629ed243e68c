"""Entries that wait for their start themselves, with what takes them long done ahead."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from pathlib import Path

import pytest
from sandboxing import HERE, LIMITS, descendants, hear, read_all, report_of, wait_until

from edgesandbox import Spec, Zygote


@pytest.fixture
def patient():
    """Start a zygote with one of the patient entries; closed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def patient(entry, **options):
            return stack.enter_context(Zygote(entry=f"patient:{entry}", waits=True, import_paths=[HERE], **options))

        yield patient


def waits_after_work(zygote):
    """Say whether a process of the zygote's has used half a second and is not running any more."""
    for pid in descendants(zygote._process.pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if sum(map(int, fields[11:13])) >= 0.4 * os.sysconf("SC_CLK_TCK") and fields[0] == "S":
            return True
    return False


def test_what_is_done_ahead_is_on_nobodys_account(patient):
    """Neither in the job's time nor in its account of the processor."""
    limits = dataclasses.replace(LIMITS, wall_s=20)
    zygote = patient("work_ahead", warm=1, warm_limits=limits)
    wait_until(lambda: zygote.ready == 1 and waits_after_work(zygote), 60)
    asked = time.monotonic()
    with zygote.spawn(Spec(limits=limits)) as box:
        prepared, gate = hear(box)
        report = report_of(box)

    assert prepared < asked
    assert -1 == gate
    assert "exited" == report.outcome
    assert report.wall_s <= time.monotonic() - asked
    assert report.cpu_s < 0.4


def test_a_cold_job_is_prepared_when_it_is_asked_for(patient):
    """The same entry, and the same report."""
    zygote = patient("exit_with_seven")
    with zygote.spawn(Spec(limits=LIMITS)) as box:
        report = report_of(box)
        assert b"seven\n" == read_all(box.output_fd)

    assert ("exited", 7) == (report.outcome, report.exit_code)


def test_a_lack_of_memory_in_the_job_is_the_jobs(patient):
    """As with any other entry."""
    with patient("use_memory").spawn(Spec(limits=LIMITS)) as box:
        assert "memory_limit" == report_of(box).outcome


@pytest.mark.parametrize(
    ("entry", "detail"),
    [("run_ahead", "RuntimeError before the start: nobody has prepared for this"), ("never_enter", "before it was")],
)
def test_an_entry_that_fails_before_the_start_is_no_failure_of_a_job(patient, entry, detail):
    """Its report says that the sandbox failed, and why."""
    with patient(entry).spawn(Spec(limits=LIMITS)) as box:
        report = report_of(box)

    assert "setup_failed" == report.outcome
    assert detail in report.detail


def test_other_entries_are_called_as_ever(patient):
    """A spec's own entry gets the channel alone, when its job starts."""
    with patient("run_ahead").spawn(Spec(entry="hostile:noop", limits=LIMITS)) as box:
        assert "here" == hear(box)
        assert "exited" == report_of(box).outcome

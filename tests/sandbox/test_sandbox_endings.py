"""How jobs end, by themselves and otherwise, and that the report calls it by its name."""

from __future__ import annotations

import os
import signal
import time

import pytest
from sandboxing import hear, read_all, report_of, say

from edgesandbox import SetupFailed


def test_a_job_that_returns_has_exited(run):
    """Exit code 0, some time used, nothing to add."""
    report = run("noop").report

    assert ("exited", 0, None, "") == (report.outcome, report.exit_code, report.signal, report.detail)
    assert 0 < report.wall_s < 5
    assert 0 <= report.cpu_s < 5  # less than a tick is nothing to some kernels
    assert report.memory_peak_bytes > 1 << 20


def test_a_job_that_exits_is_reported_with_its_code(run):
    """sys.exit(7) is exit code 7."""
    report = run("leave", 7).report

    assert ("exited", 7, "exit code 7") == (report.outcome, report.exit_code, report.detail)


def test_a_job_that_raises_has_exited_with_1_and_its_traceback_in_the_output(run):
    """The program failed; the sandbox did not."""
    ended = run("fail")

    assert ("exited", 1) == (ended.report.outcome, ended.report.exit_code)
    assert b"ValueError: of its own accord" in ended.output


def test_a_job_that_crashes_is_reported_with_the_signal(run):
    """SIGSEGV is named."""
    report = run("crash").report

    assert ("signalled", signal.SIGSEGV, "killed by SIGSEGV") == (report.outcome, report.signal, report.detail)


def test_an_entry_that_does_not_exist_is_the_jobs_failure(run):
    """The sandbox was fine: exit code 1, with the reason in the output."""
    ended = run("no_such_function")

    assert ("exited", 1) == (ended.report.outcome, ended.report.exit_code)
    assert b"AttributeError" in ended.output


@pytest.mark.parametrize("program", ["sleep", "deaf"])
def test_the_wall_clock_ends_a_job(run, program):
    """Whether it listens to signals or not."""
    report = run(program, wall_s=0.3).report

    assert "timeout" == report.outcome
    assert 0.3 <= report.wall_s < 3


@pytest.mark.parametrize("program", ["gluttons:burn", "gluttons:burn_deaf"])
def test_processor_time_is_limited(run, program):
    """SIGXCPU at the limit; who ignores that is stopped nevertheless."""
    report = run(program, cpu_s=1, wall_s=60).report

    assert "cpu_limit" == report.outcome
    assert 0.5 <= report.cpu_s < 3  # the kernel's two ways to count differ by some ticks


def test_processor_time_of_children_is_counted(run):
    """Two children of 0.4 s each make at least 0.8 s."""
    assert run("gluttons:burn_in_children").report.cpu_s >= 0.8


def test_a_chain_of_processes_has_one_processor_limit(run):
    """Ten times 0.25 s, one after the other, none of them over the limit of 1 s; with 10 s it gets through."""
    short, long = run("gluttons:burn_in_a_chain", cpu_s=1), run("gluttons:burn_in_a_chain", cpu_s=10)

    assert ("cpu_limit", None) == (short.report.outcome, short.answer)
    assert short.report.cpu_s < 3
    assert ("exited", "done") == (long.report.outcome, long.answer)


@pytest.mark.parametrize("program", ["gluttons:allocate_in_children", "gluttons:allocate_in_hiding"])
def test_children_have_one_memory_limit_together(run, program):
    """Four times 100 MiB do not go into 256 MiB, whether they can be looked into or not; they do into 1 GiB."""
    small, large = run(program), run(program, memory_bytes=1 << 30)

    assert ("memory_limit", None) == (small.report.outcome, small.answer)
    assert ("exited", [0] * 4) == (large.report.outcome, large.answer)
    assert large.report.memory_peak_bytes > 400 << 20


def test_the_watchdog_leaves_mapped_files_out(run):
    """What the kernel can drop at any time does not count, nor does what the cap on scratch counts already."""
    limits = {"memory_bytes": 64 << 20, "scratch_bytes": 128 << 20}

    ended = run("gluttons:map_a_large_file", **limits, without=["cgroup_memory"])

    assert ("exited", 0) == (ended.report.outcome, ended.report.exit_code)


def test_a_job_that_allocates_too_much_has_hit_the_memory_limit(run):
    """One GiB does not go into 256 MiB, and does into 2 GiB."""
    small = run("gluttons:allocate")
    large = run("gluttons:allocate", memory_bytes=2 << 30)

    assert ("memory_limit", None) == (small.report.outcome, small.answer)
    assert ("exited", 1 << 30) == (large.report.outcome, large.answer)
    assert large.report.memory_peak_bytes > 1 << 30


@pytest.mark.parametrize(
    ("path", "size_bytes"), [("/scratch/full", 8 << 20), ("/tmp/full", 4 << 20), ("/dev/shm/full", 4 << 20)]
)
def test_disks_are_capped(run, path, size_bytes):
    """Scratch and /tmp take what they may hold and no more, and the report says why the job failed."""
    ended = run("gluttons:fill", path, scratch_bytes=8 << 20, tmp_bytes=4 << 20)

    assert size_bytes == ended.answer
    assert "disk_limit" == ended.report.outcome


def test_one_file_is_capped(run):
    """RLIMIT_FSIZE holds where there is room on the disk, and the report says that it was that."""
    ended = run("gluttons:fill", "/scratch/large", fsize_bytes=1 << 20)

    assert 1 << 20 == ended.answer
    assert b"File too large" in ended.output
    assert "disk_limit" == ended.report.outcome


def test_inodes_are_capped(run):
    """A million empty files do not go into a small scratch."""
    ended = run("gluttons:many_files", scratch_bytes=4 << 20)

    assert 0 < ended.answer < 2000
    assert "disk_limit" == ended.report.outcome


def test_descriptors_are_capped(run):
    """EMFILE below the limit."""
    opened, error = run("gluttons:many_descriptors", nofile=64).answer

    assert opened < 64
    assert 24 == error


def test_processes_are_capped(run):
    """A fork bomb gets as far as the limit, and nothing of it is left."""
    children, error = run("gluttons:fork_bomb", pids=16).answer

    assert 15 == children  # and the job itself
    assert 11 == error


def test_endless_output_ends_the_job(spawn):
    """Exactly the allowed bytes arrive."""
    box = spawn("gluttons:print_forever", output_bytes=1 << 20)

    assert 1 << 20 == len(read_all(box.output_fd))
    assert "output_limit" == report_of(box).outcome


def test_output_that_nobody_reads_blocks_the_job_until_its_time_is_up(spawn):
    """Nothing is buffered beyond two pipes and one chunk, and the clock goes on."""
    box = spawn("gluttons:print_forever", wall_s=0.5)

    assert "timeout" == report_of(box).outcome
    assert len(read_all(box.output_fd)) < 1 << 20


def test_cancel_lets_a_job_tidy_up(spawn):
    """SIGTERM first; the outcome is cancelled whatever the job makes of it."""
    box = spawn("tidy_up")
    hear(box)

    box.cancel()

    report = report_of(box)
    assert ("cancelled", 3) == (report.outcome, report.exit_code)
    assert report.wall_s < 2


def test_cancel_kills_who_ignores_it(spawn):
    """SIGKILL after two seconds of grace."""
    box = spawn("deaf")
    hear(box)

    box.cancel()

    report = report_of(box)
    assert ("cancelled", signal.SIGKILL) == (report.outcome, report.signal)
    assert 1.9 < report.wall_s < 8


def test_kill_ends_a_job_at_once(spawn):
    """No grace; there is a report all the same, and the channel is at its end."""
    box = spawn("deaf")
    hear(box)
    before = time.monotonic()

    box.kill()

    assert "cancelled" == report_of(box).outcome
    assert time.monotonic() - before < 1
    assert b"" == box.channel.recv(1)


def test_nothing_outlives_its_job(spawn):
    """A daemon with a session of its own dies with the job's first process: its end of the channel closes."""
    box = spawn("outlive")

    assert "daemon" == hear(box)
    assert "exited" == report_of(box).outcome
    box.channel.settimeout(5)
    assert b"" == box.channel.recv(1)


def test_closing_kills(spawn):
    """After close no process holds the job's output pipe."""
    box = spawn("deaf")
    hear(box)
    copy = os.dup(box.output_fd)
    try:
        box.close()
        box.close()

        assert b"" == read_all(copy)
    finally:
        os.close(copy)


def test_scratch_is_readable_after_the_job(spawn):
    """Until close, and with nothing of the job alive."""
    box = spawn("gluttons:fill", scratch_bytes=1 << 20)
    say(box, "/scratch/kept")
    report_of(box)

    assert ["kept"] == os.listdir(box.scratch_fd)


@pytest.mark.parametrize(("limit", "path"), [("scratch_bytes", "/scratch"), ("tmp_bytes", "/tmp")])
def test_what_the_machine_has_no_memory_for_is_refused(spawn, limit, path):
    """A line that names it, before anything is built; it would be lack of memory for everybody else later."""
    with pytest.raises(SetupFailed, match=f"^{path} of 1073741824 MiB is kept in memory, of which this machine has"):
        spawn("noop", **{limit: 1 << 50})

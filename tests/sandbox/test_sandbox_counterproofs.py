"""The same attacks where nothing, or less, holds them: what the other tests see contained is real and can be seen.

Where a protection can be left out alone, its own test does that; here are the others.
"""

from __future__ import annotations

import errno
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sandboxing import hear, read_all, report_of, runs, say, unconfined

from edgesandbox import seccomp

COLUMN = 0 if platform.machine() == "x86_64" else 1
MIB = 1 << 20

# With arguments that the kernel refuses for their own sake, from root too: none of these calls does anything.
FOR_ROOT = [
    ("acct", 1),
    ("bpf", 0, 1, 200),
    ("clock_settime", 0, 0),
    ("delete_module", 0, 0),
    ("finit_module", -1, 0, 0),
    ("fsopen", 0, 0),
    ("init_module", 0, 0, 0),
    ("kexec_load", 0, 17, 0, 0),
    ("mount", 0, 0, 0, 0, 0),
    ("move_mount", -1, 0, -1, 0, 0),
    ("perf_event_open", 0, 0, -1, -1, 0),
    ("pivot_root", 0, 0),
    ("quotactl", 0, 0, 0, 0),
    ("reboot", 0, 0, 0, 0),
    ("sethostname", 0, -1),
    ("settimeofday", 1, 0),
    ("swapoff", 0),
    ("swapon", 0, 0),
    ("syslog", 10, 0, 0),
]


@pytest.mark.parametrize(
    ("program", "asked", "limit", "small", "large"),
    [
        ("gluttons:fill", "/scratch/full", "scratch_bytes", 4 * MIB, 12 * MIB),
        ("gluttons:fill", "/tmp/full", "tmp_bytes", 4 * MIB, 12 * MIB),
        ("gluttons:fill", "/scratch/large", "fsize_bytes", 1 * MIB, 3 * MIB),
        ("gluttons:many_files", None, "scratch_bytes", 2 * MIB, 8 * MIB),
        ("gluttons:many_descriptors", None, "nofile", 64, 256),
        ("gluttons:fork_bomb", None, "pids", 8, 24),
    ],
)
def test_a_larger_limit_lets_more_through(run, program, asked, limit, small, large):
    """Three or four times the room, three or four times as much in it: the limit is what stops the program."""
    got = [run(program, asked, **{limit: size}).answer for size in (small, large)]
    taken = [each[0] if isinstance(each, list) else each for each in got]

    assert taken[0] > 0
    assert taken[0] * (large / small) * 0.9 <= taken[1] <= large


def test_a_larger_output_limit_lets_more_through(spawn):
    """Exactly as many bytes as were allowed, whatever was allowed."""
    sizes = []
    for limit in (MIB, 3 * MIB):
        box = spawn("gluttons:print_forever", output_bytes=limit)
        sizes.append(len(read_all(box.output_fd)))
        assert "output_limit" == report_of(box).outcome

    assert [MIB, 3 * MIB] == sizes


def test_an_unconfined_daemon_outlives_its_parent():
    """With a session of its own it stays when the program that started it has ended."""
    line = "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    daemon = int(done.stdout)

    try:
        assert runs(daemon)
    finally:
        os.kill(daemon, signal.SIGKILL)


def test_an_unconfined_program_that_ignores_sigterm_goes_on():
    """SIGTERM does nothing to it."""
    code = "import signal, sys; signal.signal(15, 1); print('deaf', flush=True); sys.stdin.read(); print('here')"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert b"deaf\n" == program.stdout.readline()
        program.terminate()

        assert (b"here\n", None) == program.communicate(b"")


def test_who_reads_results_without_care_is_led_out_of_them(spawn):
    """Opened by its path, a link in the results gives a file of the reader's, and a FIFO gives nothing, for ever."""
    box = spawn("outputs")
    say(box, [["symlink", "host", "/proc/sys/kernel/osrelease"], ["fifo", "x"]])
    hear(box)
    report_of(box)
    results = Path(f"/proc/self/fd/{box.scratch_fd}/output")

    assert os.uname().release == (results / "host").read_text().strip()
    stuck = ["timeout", "0.5", "cat", str(results / "x").replace("self", str(os.getpid()))]
    assert 124 == subprocess.run(stuck, check=False).returncode


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has a second instruction set")
@pytest.mark.needs("unfiltered")
def test_32_bit_calls_are_answered_without_the_filter(run):
    """By a kernel that has them; one that has not ends the program in its own way."""
    free = run("foreign_calls", without=["seccomp"])

    assert signal.SIGSYS != free.report.signal
    assert free.answer is True or free.report.signal == signal.SIGSEGV


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make these calls at all")
def test_what_the_filter_denies_is_not_denied_to_root(run):
    """Calls that take a privilege: refused for a job before the kernel looks at them, and not for root outside."""
    calls = [[seccomp.NUMBERS[name][COLUMN], *arguments] for name, *arguments in FOR_ROOT]

    inside, outside = run("system_calls", calls).answer, unconfined("hostile:system_calls", calls)

    assert {errno.EPERM} == set(inside)
    assert [] == [name for (name, *_), got in zip(FOR_ROOT, outside, strict=True) if got == errno.EPERM]

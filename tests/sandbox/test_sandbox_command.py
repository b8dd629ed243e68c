"""The command: a program confined, its output, its report, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from edgesandbox import protections
from edgesandbox.__main__ import main
from edgesandbox.report import Outcome, Report
from edgesandbox.runner import exit_code, parse_size


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edgesandbox", *arguments]


def test_a_program_runs_and_its_output_and_exit_code_come_through():
    """stdout carries what it printed, stderr the report in one line."""
    done = subprocess.run(
        command("run", "--env", "WORD=hello", "--", "/bin/sh", "-c", "echo $WORD; pwd; exit 7"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (7, "hello\n/scratch\n") == (done.returncode, done.stdout)
    assert done.stderr.startswith("edgesandbox: exited (exit code 7); ")


def test_the_report_is_a_document(tmp_path):
    """With its schema, in a file of choice."""
    report = tmp_path / "report.json"

    done = subprocess.run(command("run", "--json", "--report", str(report), "--", "true"), check=False)

    document = json.loads(report.read_text())
    assert 0 == done.returncode
    assert ("edgesandbox.report/1", "exited", 0) == (document["schema"], document["outcome"], document["exit_code"])
    assert "private_root" in document["enforced"]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--", "no-such-program"], 125, "setup_failed (cannot run no-such-program: No such file or directory)"),
        (["--ro", "/no/such", "--", "true"], 125, "setup_failed (/no/such was to be visible"),
        (["--nofile", "99999999999", "--", "true"], 125, "setup_failed (RLIMIT_NOFILE"),
        (["--time", "0.3", "--", "sleep", "600"], 124, "timeout"),
        (["--memory", "-1", "--", "true"], 2, "limit memory_bytes must be a positive whole number"),
        (["--output", "10", "--", "yes"], 137, "output_limit"),
        (["--", "/bin/sh", "-c", "kill -SEGV $$"], 139, "signalled (killed by SIGSEGV)"),
    ],
)
def test_what_goes_wrong_has_a_line_and_an_exit_code(capfd, arguments, code, complaint):
    """The sandbox's own failures are 125, never the program's code."""
    assert code == main(["run", *arguments])

    error = capfd.readouterr().err
    assert complaint in error
    assert 1 == error.count("\n")


def test_a_file_can_be_shown(tmp_path, capfd):
    """--ro makes a path readable, at the same place, and not writable."""
    file = tmp_path / "data"
    file.write_text("shown")
    file.chmod(0o644)

    assert 2 == main(["run", "--ro", str(file), "--", "/bin/sh", "-c", f"cat {file}; echo x > {file}"])

    assert capfd.readouterr().out.startswith("shown")
    assert "shown" == file.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels(number):
    """The program is asked to end, the report says so, the exit code is 130."""
    line = command("run", "--", "/bin/sh", "-c", "echo up; sleep 600")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert b"up\n" == running.stdout.readline()

        os.kill(running.pid, number)
        _, error = running.communicate(timeout=30)

    assert 130 == running.returncode
    assert b"edgesandbox: cancelled" in error


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2 << 30), ("256M", 256 << 20), ("64k", 64 << 10), ("1.5K", 1536), ("17", 17)]
)
def test_sizes_are_read(text, size):
    """With a unit or without."""
    assert size == parse_size(text)


@pytest.mark.parametrize("text", ["", "G", "x", "1X"])
def test_what_is_no_size_is_refused(text):
    """As argparse wants it: ValueError."""
    with pytest.raises(ValueError, match=r"could not convert|invalid literal"):
        parse_size(text)


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report(outcome=Outcome.EXITED, exit_code=3), 3),
        (Report(outcome=Outcome.SIGNALLED, signal=9), 137),
        (Report(outcome=Outcome.MEMORY_LIMIT, signal=9), 137),
        (Report(outcome=Outcome.CPU_LIMIT, signal=24), 137),
        (Report(outcome=Outcome.DISK_LIMIT, exit_code=1), 1),
        (Report(outcome=Outcome.CANCELLED, exit_code=0), 130),
        (Report(outcome=Outcome.TIMEOUT, signal=9), 124),
        (Report(outcome=Outcome.SETUP_FAILED), 125),
    ],
)
def test_every_outcome_has_its_exit_code(report, code):
    """As the help text says."""
    assert code == exit_code(report)


def test_check_prints_a_document(capsys):
    """For scripts, with its schema."""
    assert 0 == main(["check", "--json"])

    document = json.loads(capsys.readouterr().out)
    assert ("edgesandbox.check/1", None) == (document["schema"], document["problem"])
    assert protections.tier(tuple(document["enforced"])) == document["tier"]

"""The command: a program confined, its output, its report, its exit code."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgesandbox import Zygote, landlock, protections
from edgesandbox.__main__ import main
from edgesandbox.order import parse_size
from edgesandbox.report import Outcome, Report
from edgesandbox.runner import _Runner, exit_code


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

    done = subprocess.run(command("run", f"--json={report}", "--", "true"), check=False)

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
        (["--output", "10", "--", "yes"], 137, "output_limit"),
        (["--output", "10", "--", "/bin/sh", "-c", "echo 12345; echo 123456 >&2; sleep 60"], 137, "output_limit"),
        (["--chdir", "/no/such", "--", "true"], 125, "setup_failed (cannot start in /no/such: No such file"),
        (["--", "/etc/passwd"], 125, "setup_failed (cannot run /etc/passwd: Permission denied)"),
        (["--", "/usr"], 125, "setup_failed (cannot run /usr: Permission denied)"),
        (["--", ""], 125, "setup_failed (the program's name is empty)"),
        (["--env", "X", "--", "true"], 125, "setup_failed (--env: 'X' is not NAME=VALUE)"),
        (["--env", "=x", "--", "true"], 125, "setup_failed (--env: '=x' is not NAME=VALUE)"),
        (["--net", "some", "--", "true"], 125, "setup_failed (--net: 'some' is neither none nor host)"),
        (["--json=/no/such/file", "--", "true"], 125, "cannot write the report to /no/such/file: No such file"),
        (["--json=77", "--", "true"], 125, "cannot write the report to 77: Bad file descriptor"),
        (["--no-such-option", "--", "true"], 125, "unrecognized arguments: --no-such-option"),
        ([], 125, "setup_failed (there is no program to run"),
        (["--", "/bin/sh", "-c", "kill -SEGV $$"], 139, "signalled (killed by SIGSEGV)"),
    ],
)
def test_what_goes_wrong_has_a_line_and_an_exit_code(arguments, code, complaint):
    """The sandbox's own failures are 125, never the program's code."""
    done = subprocess.run(command("run", *arguments), stderr=subprocess.PIPE, text=True, check=False)

    assert code == done.returncode
    lines = done.stderr.removeprefix("12345").splitlines()
    assert complaint in lines[-1]
    assert [] == lines[:-1] or "--output" in arguments


def test_a_file_can_be_shown(tmp_path, capfd):
    """--ro makes a path readable, at the same place, and not writable."""
    file = tmp_path / "data"
    file.write_text("shown")
    file.chmod(0o644)

    assert 2 == main(["run", "--ro", str(file), "--", "/bin/sh", "-c", f"cat {file}; echo x > {file}"])

    assert capfd.readouterr().out.startswith("shown")
    assert "shown" == file.read_text()


@pytest.mark.needs("sandbox")
def test_signals_are_as_a_program_expects_them(capfd):
    """None is ignored, although our interpreter ignores two, and who starts it may ignore others."""
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # as of what a shell runs in the background
    try:
        assert 0 == main(["run", "--", "grep", "SigIgn", "/proc/self/status"])
    finally:
        signal.signal(signal.SIGQUIT, before)

    assert 0 == int(capfd.readouterr().out.split()[1], 16)


LIMITS = ("memory", "scratch", "tmp", "file", "output", "pids", "nofile", "cpu", "time")


@pytest.mark.parametrize("value", ["0", "-1", "1e400", "nan", "9" * 30, "much", ""])
@pytest.mark.parametrize("option", LIMITS)
def test_a_limit_that_makes_no_sense_has_a_line(capfd, option, value):
    """It names the option; nothing is started."""
    assert 125 == main(["run", f"--{option}={value}", "--json", "--", "true"])

    report = json.loads(capfd.readouterr().err)
    assert "setup_failed" == report["outcome"]
    assert report["detail"].startswith(f"--{option}: ")


@pytest.mark.needs("sandbox")
@pytest.mark.parametrize("option", LIMITS)
def test_the_highest_and_the_lowest_limit_has_an_ending_with_a_name(capfd, option):
    """Whatever number passes the check: the program ran, a limit ended it, or a line names what the kernel refused."""
    for value in ("1", str((1 << 53) - 1)):
        code = main(["run", f"--{option}={value}", "--json", "--", "/bin/sh", "-c", "exit 3"])

        report = json.loads(capfd.readouterr().err.splitlines()[-1])
        named = ("memory_limit", "disk_limit", "output_limit", "signalled")
        said = report["outcome"] == "setup_failed" and report["detail"]
        assert said or report["outcome"] in named or (report["outcome"] == "exited" and code), report
        if said:
            assert any(word in report["detail"] for word in (option, "RLIMIT_NOFILE", "RLIMIT_NPROC")), report


@pytest.mark.needs("sandbox")
def test_the_streams_are_kept_apart():
    """stdin is read to its end, stdout and stderr come out where they belong, whole."""
    size = 3_000_000
    script = (
        "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data); sys.stderr.write(str(len(data)))"
    )

    done = subprocess.run(
        command("run", "--json=/dev/null", "--", "python3", "-c", script),
        input=b"x" * size,
        capture_output=True,
        check=False,
    )

    assert (0, b"x" * size, str(size).encode()) == (done.returncode, done.stdout, done.stderr)


@pytest.mark.needs("sandbox")
def test_no_descriptor_of_ours_gets_in(tmp_path):
    """stdin is a pipe even where ours is a file that is open for writing: the program cannot reach the file."""
    ours = tmp_path / "ours"
    ours.write_text("ours\n")
    with ours.open("r+") as stdin:
        done = subprocess.run(
            command("run", "--", "/bin/sh", "-c", "read x; echo $x; echo spoiled >&0; ls -l /proc/self/fd"),
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    assert "ours\n" == ours.read_text()
    lines = done.stdout.splitlines()
    assert "ours" == lines[0]
    opened = [line.partition(" -> ")[2] for line in lines[1:] if " -> " in line]
    assert 4 == len(opened)
    assert all(target.startswith(("pipe:", "/proc/")) for target in opened), opened


@pytest.mark.needs("sandbox")
def test_closed_streams_do_no_harm():
    """A caller without stdin, stdout and stderr gets the exit code all the same."""
    line = command("run", "--", "/bin/sh", "-c", "cat; echo x; echo y >&2; exit 9")

    done = subprocess.run(["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *line], check=False)

    assert 9 == done.returncode


@pytest.mark.needs("sandbox")
def test_a_program_that_reads_no_input_ends_all_the_same():
    """Although we are still waiting for more of it."""
    with subprocess.Popen(command("run", "--", "/bin/sh", "-c", "exit 5"), stdin=subprocess.PIPE) as running:
        assert 5 == running.wait(60)


@pytest.mark.needs("sandbox")
@pytest.mark.parametrize("script", ["yes", "echo up; exec sleep 600"])
def test_a_reader_that_goes_away_ends_the_program(script):
    """Whether it is writing or silent then."""
    line = command("run", "--json=2", "--", "/bin/sh", "-c", script)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.read(2)

        running.stdout.close()
        report = json.loads(running.stderr.read().splitlines()[-1])

    assert (130, "cancelled") == (running.returncode, report["outcome"])
    assert "nobody reads" in report["detail"]


@pytest.mark.needs("sandbox")
def test_a_reader_that_has_stopped_does_not_keep_us_from_ending():
    """SIGTERM ends us although our last output cannot be written."""
    with subprocess.Popen(command("run", "--", "yes"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        assert running.stdout.read(2)

        running.terminate()
        assert 130 == running.wait(60)


@pytest.mark.needs("sandbox")
def test_a_signal_that_interrupts_no_wait_cancels_all_the_same(monkeypatch, capfd):
    """As one does that comes right before the wait begins, or to another thread: Python acts on it after the wait."""
    watch, waiting = _Runner._watch, Path(f"/proc/self/task/{threading.main_thread().native_id}/syscall")

    def signal_here():
        while waiting.read_text().split()[0] not in {"7", "73"}:  # poll of x86-64, ppoll of aarch64
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    def watched(*given):
        threading.Thread(target=signal_here, daemon=True).start()
        watch(*given)

    monkeypatch.setattr(_Runner, "_watch", staticmethod(watched))

    assert 130 == main(["run", "--json", "--time", "60", "--", "sleep", "100"])
    assert "cancelled" == json.loads(capfd.readouterr().err)["outcome"]


@pytest.mark.needs("sandbox")
def test_a_signal_before_the_program_has_started_cancels(monkeypatch, capfd):
    """Nothing is left, and no traceback is shown."""

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Zygote, "_introduce", lambda self, *_: interrupted(self))

    assert 130 == main(["run", "--json", "--", "true"])
    assert "cancelled" == json.loads(capfd.readouterr().err)["outcome"]


@pytest.mark.needs("sandbox")
def test_a_double_dash_of_the_programs_own_stays(capfd):
    """Only the first one is ours."""
    assert 0 == main(["run", "--", "echo", "--", "-x", "--json"])
    assert "-- -x --json\n" == capfd.readouterr().out


@pytest.mark.needs("sandbox")
def test_the_report_goes_to_a_descriptor():
    """By its number; stderr then has nothing but the program's own."""
    line = command("run", "--json=3", "--", "/bin/sh", "-c", "echo mine >&2")

    done = subprocess.run(
        ["/bin/sh", "-c", 'exec 3>&1; exec "$@" >/dev/null', "sh", *line], capture_output=True, text=True, check=False
    )

    assert "exited" == json.loads(done.stdout)["outcome"]
    assert "mine\n" == done.stderr


@pytest.mark.needs("sandbox")
@pytest.mark.needs("ipv6")
def test_the_program_talks_to_itself_alone(capfd):
    """Its loopback is up, and nothing of the host's listens there."""
    script = (
        "import socket, sys\n"
        "with socket.create_server(('127.0.0.1', 0)) as server, socket.create_server(('::1', 0), family=10):\n"
        "    socket.create_connection(server.getsockname()).close()\n"
        "print(socket.socket().connect_ex(('127.0.0.1', int(sys.argv[1]))), [n for _, n in socket.if_nameindex()])"
    )
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = str(ours.getsockname()[1])

        assert 0 == main(["run", "--", "python3", "-c", script, port])
        assert f"{errno.ECONNREFUSED} ['lo']\n" == capfd.readouterr().out

        assert 0 == main(["run", "--net", "host", "--json", "--", "python3", "-c", script, port])
        said = capfd.readouterr()
        assert said.out.startswith("0 [")
        assert "host's network" in json.loads(said.err)["not_enforced"]["network_namespace"]


@pytest.mark.needs("sandbox")
def test_in_the_hosts_network_abstract_sockets_stay_out_of_reach(capfd):
    """Where the report says Landlock, whose version 6 this needs; a socket that lets strangers in is the victim."""
    if landlock.abi() < 6:
        pytest.skip("this kernel has no Landlock of version 6")
    script = "import socket, sys; print(socket.socket(socket.AF_UNIX).connect_ex('\\0' + sys.argv[1]))"
    with socket.socket(socket.AF_UNIX) as victim:
        victim.bind(f"\0edgesandbox-test-{os.getpid()}")
        victim.listen()
        name = f"edgesandbox-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX) as friend:
            friend.connect(f"\0{name}")

        assert 0 == main(["run", "--net", "host", "--", "python3", "-c", script, name])

    assert f"{errno.EPERM}\n" == capfd.readouterr().out


@pytest.mark.needs("sandbox")
def test_the_program_does_not_see_its_control_group(capfd):
    """/proc shows the top of a hierarchy of its own."""
    assert 0 == main(["run", "--", "/bin/sh", "-c", "cut -d: -f3 /proc/self/cgroup | sort -u"])

    assert "/\n" == capfd.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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


@pytest.mark.parametrize("text", ["", "G", "x", "1X", "1e999G", "nanM"])
def test_what_is_no_size_is_refused(text):
    """With what to write instead."""
    with pytest.raises(ValueError, match="is not a size"):
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
    assert document["not_enforced"].keys() == document["remedies"].keys()


def test_check_says_what_to_type(capsys):
    """Below each protection that is missing: in tier C there are many."""
    with_tier_c = main(["check", "--allow-tier-c"])

    lines = capsys.readouterr().out.splitlines()
    missing = [number for number, line in enumerate(lines) if line.startswith("  not enforced  ")]
    assert 0 == with_tier_c
    assert missing
    for number in missing:
        assert lines[number + 1].strip().startswith(("type: ", "nothing to type: ")), lines[number]

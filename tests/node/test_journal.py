"""The log that a node keeps for its owner: bounded, closed to others, and readable while it is written."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeagent.cli import main
from edgeagent.node import journal
from edgeagent.node.journal import Journal, Printed
from edgeagent.wire.messages import JobDispatch


@pytest.fixture
def logger(tmp_path: Path) -> Iterator[logging.Logger]:
    """A logger that writes into a journal of some 2 KiB."""
    made = logging.Logger("node")
    kept = Journal(tmp_path, max_bytes=1024)
    made.addHandler(kept)
    yield made
    kept.close()


def _say(logger: logging.Logger, event: str, **details: str) -> None:
    logger.info(json.dumps({"event": event, **details}))


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def _events(home: Path, job: str | None = None, last: int | None = None) -> list[str]:
    return [entry["event"] for entry in journal.entries(home, job=job, last=last)]


def test_the_log_is_bounded_and_keeps_the_newest(logger: logging.Logger, tmp_path: Path) -> None:
    """In two files that only their owner can read."""
    for number in range(1000):
        _say(logger, f"event {number}")

    directory = tmp_path / journal.DIRECTORY
    assert sum(path.stat().st_size for path in directory.iterdir()) <= 2048
    assert {0o600} == {path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert ["event 998", "event 999"] == _events(tmp_path, last=2)


def test_one_job_is_picked_out(logger: logging.Logger, tmp_path: Path) -> None:
    """By its own id, or that of an attempt."""
    _say(logger, "a", job_id="1", attempt_id="x")
    _say(logger, "b", job_id="2", attempt_id="y")
    _say(logger, "c")

    assert [["a"], ["b"], ["a", "b", "c"], []] == [_events(tmp_path, job) for job in ("1", "y", None, "3")]


def test_a_line_that_was_cut_off_is_passed_over(logger: logging.Logger, tmp_path: Path) -> None:
    """As a crash leaves it."""
    _say(logger, "a")
    _append(tmp_path / journal.DIRECTORY / journal.FILE, '{"event": "b')

    assert ["a"] == _events(tmp_path)


def test_following_goes_on_in_the_next_file(logger: logging.Logger, tmp_path: Path) -> None:
    """What was there before is not repeated; a half line waits for its rest."""
    path = tmp_path / journal.DIRECTORY / journal.FILE
    _say(logger, "before")
    older = path.with_suffix(".log.1")
    steps = iter(
        [
            lambda: _say(logger, "one"),
            lambda: _append(path, '{"event": "tw'),
            lambda: _append(path, 'o"}\n'),
            lambda: (_append(path, '{"event": "three"}\n'), path.rename(older), _append(path, '{"event": "four"}\n')),
        ]
    )

    def step() -> None:
        next(steps)()

    followed = journal.follow(tmp_path, wait=step)

    assert ["one", "two", "three", "four"] == [next(followed)["event"] for _ in range(4)]


def test_logs_are_printed_for_people_and_programs(logger: logging.Logger, tmp_path: Path) -> None:
    """As lines, and as they were logged."""
    _say(logger, "Job failed", level="warning", timestamp="2026-11-22T10:00:00Z", job_id="1")
    env = {"EDGEAGENT_HOME": str(tmp_path)}

    text = CliRunner().invoke(main, ["logs"], env=env).stdout
    document = json.loads(CliRunner().invoke(main, ["logs", "--json"], env=env).stdout)

    assert "2026-11-22T10:00:00Z  warning Job failed  job_id=1\n" == text
    assert ("Job failed", "1") == (document["event"], document["job_id"])


def test_no_log_is_no_fault(tmp_path: Path) -> None:
    """A node that never ran has said nothing, and no job has run: which is said, where no script reads it."""
    runner, env = CliRunner(), {"EDGEAGENT_HOME": str(tmp_path)}
    done = [runner.invoke(main, command, env=env) for command in (["logs"], ["logs", "--job", "x"], ["jobs"])]

    assert [(0, "")] * 3 == [(one.exit_code, one.stdout) for one in done]
    assert ["Nothing is logged yet.\n", "Nothing is logged about job x.\n", "No job has run here yet.\n"] == [
        one.stderr for one in done
    ]


def test_following_ends_well_with_ctrl_c(logger: logging.Logger, tmp_path: Path) -> None:
    """What is added meanwhile has been shown, and nothing is said of the end."""
    _say(logger, "before")
    # Tests that are run in the background of a shell ignore Ctrl-C, and what they start would too.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "edgeagent", "logs", "-f"]
    env = {**os.environ, "EDGEAGENT_HOME": str(tmp_path)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        first = following.stdout.readline()
        _say(logger, "after")
        second = following.stdout.readline()
        following.send_signal(signal.SIGINT)
        rest = following.communicate(timeout=60)

    assert ("before", "after") == (first.split()[-1], second.split()[-1])
    assert (0, ("", "")) == (following.returncode, rest)


def test_a_log_that_is_closed_stays_closed(tmp_path: Path) -> None:
    """A late line is left out; the library would open the file again for it, and leave it open."""
    kept = Journal(tmp_path)
    logger = logging.Logger("node")
    logger.addHandler(kept)
    _say(logger, "in time")
    kept.close()
    _say(logger, "late")

    assert (None, ["in time"]) == (kept.stream, _events(tmp_path))


JOB = JobDispatch(
    job_id="00000000-0000-4000-8000-000000000001",
    attempt_id="00000000-0000-4000-8000-000000000002",
    job_type="echo",
    payload={},
)


@pytest.fixture
def printed(tmp_path: Path) -> Iterator[Printed]:
    """What jobs print, in files of some 2 KiB, at noon."""
    with contextlib.closing(Printed(tmp_path, 1024, now=lambda: 43200.0)) as kept:
        yield kept


def test_what_a_job_prints_stands_where_it_was_printed(
    logger: logging.Logger, printed: Printed, tmp_path: Path
) -> None:
    """Between the node's lines about it, by either id; the log of the node alone is without it."""
    _say(logger, "Received job_dispatch", job_id=JOB.job_id, timestamp="1970-01-01T11:59:59.000000Z")
    _say(logger, "Job completed", job_id=JOB.job_id, timestamp="1970-01-01T12:00:01.000000Z")
    printed.keep(JOB, ["one", "100 % of two"])

    assert ["Received job_dispatch", "one", "100 % of two", "Job completed"] == _events(tmp_path, JOB.job_id)
    assert ["one", "100 % of two"] == _events(tmp_path, JOB.attempt_id)
    assert ["Received job_dispatch", "Job completed"] == _events(tmp_path)


def test_a_talkative_job_takes_no_more_than_its_files(logger: logging.Logger, printed: Printed, tmp_path: Path) -> None:
    """And nothing of the node's own log."""
    _say(logger, "Node started")
    for _ in range(100):
        printed.keep(JOB, ["x" * 100])

    sizes = [path.stat().st_size for path in (tmp_path / journal.DIRECTORY).glob(f"{journal.PRINTED}*")]
    assert sum(sizes) <= 2048
    assert ["Node started"] == _events(tmp_path)


def test_a_job_can_be_followed(logger: logging.Logger, printed: Printed, tmp_path: Path) -> None:
    """What it prints, and what the node says of it."""
    looks = 0

    def wait() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            printed.keep(JOB, ["one"])
            _say(logger, "of another", job_id="another")
        elif looks == 2:
            _say(logger, "Job completed", job_id=JOB.job_id)
        assert looks < 10

    followed = journal.follow(tmp_path, job=JOB.job_id, wait=wait)

    assert ["one", "Job completed"] == [next(followed)["event"] for _ in range(2)]

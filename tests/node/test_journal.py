"""The log that a node keeps for its owner: bounded, closed to others, and readable while it is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeagent.cli import main
from edgeagent.node import journal
from edgeagent.node.journal import Journal


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
    """A node that never ran has said nothing."""
    assert (0, "") == (
        (done := CliRunner().invoke(main, ["logs"], env={"EDGEAGENT_HOME": str(tmp_path)})).exit_code,
        done.stdout,
    )

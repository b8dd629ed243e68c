"""The jobs that a node remembers for its owner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from edgeagent.cli import main
from edgeagent.node import history
from edgeagent.node.history import History
from edgeagent.wire.messages import JobDispatch, JobResult, JobResultAck, Outcome, Usage


async def _remember(home: Path, *outcomes: Outcome, most: int = 100) -> None:
    """Have a history of these, and credit the first."""
    kept = History(home, most=most, now=lambda: 1e9)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        for number, outcome in enumerate(outcomes):
            job, attempt, used = f"job {number}", f"attempt {number}", Usage(wall_s=1.5)
            result = JobResult(job_id=job, attempt_id=attempt, outcome=outcome, detail="so it was", usage=used)
            kept.ended(JobDispatch(job_id=job, attempt_id=attempt, job_type="render"), result)
        kept.credited(JobResultAck(attempt_id="attempt 0", credited_ucr=7))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_what_ended_is_read_back_newest_first(tmp_path: Path) -> None:
    """With what it took and what was paid; what is not acknowledged has no credits yet."""
    await _remember(tmp_path, Outcome.COMPLETED, Outcome.FAILED)

    found = list(history.read(tmp_path, limit=10))

    assert [("job 1", "failed", None), ("job 0", "completed", 7)] == [
        (one.job_id, one.outcome, one.credited_ucr) for one in found
    ]
    assert ("render", "so it was", 1e9, 1.5) == (found[0].job_type, found[0].detail, found[0].ended_at, found[0].wall_s)
    assert ["job 1"] == [one.job_id for one in history.read(tmp_path, limit=10, failed=True)]
    assert 0o600 == (tmp_path / history.FILE).stat().st_mode & 0o777


async def test_the_oldest_make_room(tmp_path: Path) -> None:
    """The file never grows beyond its bound."""
    await _remember(tmp_path, *[Outcome.COMPLETED] * 30, most=10)

    assert [f"job {number}" for number in range(29, 19, -1)] == [
        one.job_id for one in history.read(tmp_path, limit=100)
    ]


async def test_a_history_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """The node goes on."""
    (tmp_path / history.FILE).mkdir()

    await _remember(tmp_path, Outcome.COMPLETED)


def test_no_history_is_no_fault(tmp_path: Path) -> None:
    """And a broken one costs one line."""
    empty = CliRunner().invoke(main, ["jobs", "--json"], env={"EDGEAGENT_HOME": str(tmp_path)})
    (tmp_path / history.FILE).write_text("no database, and long enough to be looked at" * 100)
    broken = CliRunner().invoke(main, ["jobs"], env={"EDGEAGENT_HOME": str(tmp_path)})

    assert {"schema": "edgeagent.node-jobs/1", "running": [], "ended": []} == json.loads(empty.stdout)
    assert (1, True) == (broken.exit_code, "nothing rests on it" in broken.stderr)


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--limit", "x"]])
def test_a_senseless_limit_is_refused(arguments: list[str]) -> None:
    """Exit code 2."""
    assert 2 == CliRunner().invoke(main, ["jobs", *arguments]).exit_code

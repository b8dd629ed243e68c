"""What the node owes, on a real disk, through real crashes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from edgeagent.errors import EdgeAgentError
from edgeagent.node.spool import open_spool
from edgeagent.wire.messages import JobDispatch, JobResult, Outcome, Output

NODE = "node-1"


def _dispatch() -> JobDispatch:
    return JobDispatch(job_id=str(uuid.uuid4()), attempt_id=str(uuid.uuid4()), job_type="echo")


def _result(dispatch: JobDispatch, **fields: object) -> JobResult:
    return JobResult(
        job_id=dispatch.job_id,
        attempt_id=dispatch.attempt_id,
        **{"outcome": Outcome.COMPLETED, **fields},  # type: ignore[arg-type]
    )


async def test_a_result_survives_a_restart_unchanged(tmp_path: Path) -> None:
    """Value, outputs and files."""
    dispatch = _dispatch()
    result = _result(
        dispatch, value={"a": [1, None, "ü"]}, outputs=(Output(name="x.png", size_bytes=3, sha256="0" * 64),)
    )
    async with open_spool(tmp_path, NODE) as spool:
        await spool.begin(dispatch)
        (spool.outputs(dispatch.attempt_id) / "0").write_bytes(b"png")
        await spool.finish(result)

    async with open_spool(tmp_path, NODE) as spool:
        assert [result] == await spool.recover()
        assert b"png" == (spool.outputs(dispatch.attempt_id) / "0").read_bytes()


async def test_what_ran_is_reported_lost_at_the_next_start(tmp_path: Path) -> None:
    """At once, not when its lease ends."""
    dispatch = _dispatch()
    async with open_spool(tmp_path, NODE) as spool:
        await spool.begin(dispatch)

    async with open_spool(tmp_path, NODE) as spool:
        (result,) = await spool.recover()

    assert (dispatch.attempt_id, dispatch.job_id, Outcome.LOST) == (result.attempt_id, result.job_id, result.outcome)
    assert "restarted" in result.detail


async def test_only_what_the_gateway_cannot_give_again_waits_for_the_disk(tmp_path: Path) -> None:
    """A result is synchronized (SQLite's FULL, 2), and its end where it has files; the rest is not (NORMAL, 1)."""
    dispatch, filed = _dispatch(), _dispatch()
    async with open_spool(tmp_path, NODE) as spool:
        await spool.begin(dispatch)
        assert spool._database.execute("PRAGMA synchronous").fetchone() == (1,)
        await spool.finish(_result(dispatch))
        assert spool._database.execute("PRAGMA synchronous").fetchone() == (2,)
        await spool.drop(dispatch.attempt_id)
        assert spool._database.execute("PRAGMA synchronous").fetchone() == (1,)
        await spool.begin(filed)
        (spool.outputs(filed.attempt_id) / "0").write_bytes(b"png")
        await spool.drop(filed.attempt_id)
        assert spool._database.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_what_is_acknowledged_is_gone_with_its_files(tmp_path: Path) -> None:
    """The spool does not grow."""
    dispatch = _dispatch()
    async with open_spool(tmp_path, NODE) as spool:
        await spool.begin(dispatch)
        (spool.outputs(dispatch.attempt_id) / "0").write_bytes(b"png")
        await spool.finish(_result(dispatch))
        await spool.drop(dispatch.attempt_id)

        assert [] == await spool.recover()
        assert not spool.outputs(dispatch.attempt_id).exists()


async def test_results_come_back_in_the_order_they_were_accepted(tmp_path: Path) -> None:
    """Oldest first."""
    dispatches = [_dispatch() for _ in range(5)]
    async with open_spool(tmp_path, NODE) as spool:
        for dispatch in dispatches:
            await spool.begin(dispatch)
        for dispatch in reversed(dispatches):
            await spool.finish(_result(dispatch))

        assert [one.attempt_id for one in dispatches] == [one.attempt_id for one in await spool.recover()]


async def test_another_nodes_results_are_left_alone(tmp_path: Path) -> None:
    """After a new registration the old node's token is gone, and its results are nobody's to send."""
    dispatch = _dispatch()
    async with open_spool(tmp_path, NODE) as spool:
        await spool.begin(dispatch)
        await spool.finish(_result(dispatch))

    async with open_spool(tmp_path, "node-2") as spool:
        assert [] == await spool.recover()
        assert spool.outputs(dispatch.attempt_id).exists()


async def test_files_without_a_row_are_swept(tmp_path: Path) -> None:
    """A crash between dropping the row and the files leaves files that nobody wants."""
    async with open_spool(tmp_path, NODE) as spool:
        spool.outputs("left-over").mkdir(parents=True)
        await spool.recover()

        assert not spool.outputs("left-over").exists()


async def test_an_unreadable_result_becomes_lost(tmp_path: Path) -> None:
    """Written by another version; the gateway learns that there is nothing to wait for."""
    dispatch = _dispatch()
    async with open_spool(tmp_path, NODE) as spool:
        await spool.begin(dispatch)
        await spool.finish(_result(dispatch))
    database = sqlite3.connect(tmp_path / "spool" / "spool.db")
    database.execute("UPDATE attempts SET result = ?", (json.dumps({"outcome": "splendid"}),))
    database.commit()
    database.close()

    async with open_spool(tmp_path, NODE) as spool:
        (result,) = await spool.recover()

    assert Outcome.LOST is result.outcome


async def test_two_agents_cannot_share_a_home(tmp_path: Path) -> None:
    """The second would report the first one's running jobs as lost."""
    async with open_spool(tmp_path, NODE):
        with pytest.raises(EdgeAgentError, match="another edgeagent already runs"):
            async with open_spool(tmp_path, NODE):
                pass


async def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    """It names the file and says what to do."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "spool.db").write_bytes(b"not a database, not at all" * 100)

    with pytest.raises(EdgeAgentError, match=r"spool\.db cannot be used.*move it away"):
        async with open_spool(tmp_path, NODE):
            pass


async def test_everything_is_the_owners_alone(tmp_path: Path) -> None:
    """Results may hold what a submitter would not show to other users of this machine."""
    home = tmp_path / "home"
    async with open_spool(home, NODE) as spool:
        await spool.begin(_dispatch())
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, home / "spool", home / "spool/spool.db")
        }

    assert {"home": 0o700, "spool": 0o700, "spool.db": 0o600} == modes


WRITER = """
import sys, trio
from pathlib import Path
from edgeagent.node.spool import open_spool
from edgeagent.wire.messages import JobDispatch, JobResult, Outcome

async def main():
    async with open_spool(Path(sys.argv[1]), "node-1") as spool:
        for number, finish in enumerate(sys.argv[2:]):
            ids = f"00000000-0000-4000-8000-{number:012d}"
            await spool.begin(JobDispatch(job_id=ids, attempt_id=ids, job_type="echo"))
            if finish == "finished":
                await spool.finish(JobResult(job_id=ids, attempt_id=ids, outcome=Outcome.COMPLETED, value=number))
        print("written", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


async def test_kill_minus_nine_between_write_and_send_loses_nothing(tmp_path: Path) -> None:
    """The finished one is still there, the running one is known to be lost, and the lock is free."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), "finished", "running"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "written\n" == process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    async with open_spool(tmp_path, NODE) as spool:
        finished, running = await spool.recover()

    assert (Outcome.COMPLETED, 0) == (finished.outcome, finished.value)
    assert Outcome.LOST is running.outcome

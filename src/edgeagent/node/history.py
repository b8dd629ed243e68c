"""The jobs that this machine has done, for its owner to look at: a small SQLite file in the node's home.

Nothing rests on it: what is owed to the gateway stands in the spool.  So it is written late, in a thread, without
waiting for the disk; what cannot be written is left out, and the oldest rows make room for new ones.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import structlog
import trio

from edgeagent.wire.messages import JobDispatch, JobResult, JobResultAck

log = structlog.get_logger()

FILE = "history.db"
#: Jobs that are remembered: some 2 MiB.
MOST = 5000
#: Changes that wait for the disk; more than that, and it does not follow.
_WAITING = 256
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY,
    attempt_id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL,
    job_type TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    ended_at REAL NOT NULL,    -- seconds since the epoch, by this machine's clock
    wall_s REAL NOT NULL,
    cpu_s REAL NOT NULL,
    memory_peak_bytes INTEGER NOT NULL,
    credited_ucr INTEGER       -- NULL until the gateway has said what it pays
) STRICT
"""
_ADD = "INSERT OR IGNORE INTO jobs VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"


@attrs.frozen(kw_only=True)
class Done:
    """A job that ended here; times in seconds, ``ended_at`` since the epoch."""

    attempt_id: str
    job_id: str
    job_type: str
    outcome: str
    detail: str
    ended_at: float
    wall_s: float
    cpu_s: float
    memory_peak_bytes: int
    credited_ucr: int | None


class History:
    """Writes down what has ended; ``run`` must run, every other call returns at once."""

    def __init__(self, home: Path, *, most: int = MOST, now: Callable[[], float] = time.time) -> None:
        self._path, self._most, self._now = home / FILE, most, now
        self._waiting, self._changes = trio.open_memory_channel[tuple[str, tuple[object, ...]]](_WAITING)

    def ended(self, dispatch: JobDispatch, result: JobResult) -> None:
        """An attempt is over."""
        used = result.usage
        values = (result.attempt_id, dispatch.job_id, dispatch.job_type, result.outcome.value, result.detail)
        self._put(_ADD, (*values, self._now(), used.wall_s, used.cpu_s, used.memory_peak_bytes))

    def credited(self, ack: JobResultAck) -> None:
        """The gateway has its result, and has paid for it, or will not; while it is held, that is not known."""
        if ack.held:
            return
        self._put("UPDATE jobs SET credited_ucr = ? WHERE attempt_id = ?", (ack.credited_ucr, ack.attempt_id))

    async def run(self, _: object = None) -> None:
        """Write until cancelled (as one of ``rings.Surroundings.watches``); what waits by then is written first."""
        try:
            async for change in self._changes:
                await trio.to_thread.run_sync(self._write, [change, *self._rest()])
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._write, self._rest())

    def _put(self, statement: str, values: tuple[object, ...]) -> None:
        with contextlib.suppress(trio.WouldBlock):  # the disk does not follow
            self._waiting.send_nowait((statement, values))

    def _rest(self) -> list[tuple[str, tuple[object, ...]]]:
        found = []
        with contextlib.suppress(trio.WouldBlock):
            while True:
                found.append(self._changes.receive_nowait())
        return found

    def _write(self, changes: list[tuple[str, tuple[object, ...]]]) -> None:
        if not changes:
            return
        try:
            with contextlib.closing(sqlite3.connect(self._path)) as database, database:
                self._path.chmod(0o600)
                database.execute("PRAGMA synchronous = OFF")
                database.execute(_SCHEMA)
                for statement, values in changes:
                    database.execute(statement, values)
                database.execute("DELETE FROM jobs WHERE seq <= (SELECT max(seq) FROM jobs) - ?", (self._most,))
        except (OSError, sqlite3.Error) as error:
            log.warning("Job history not written", file=str(self._path), reason=str(error))


def read(home: Path, *, limit: int, failed: bool = False) -> Iterator[Done]:
    """Yield the last jobs, the newest first; none where the node has not done any.

    Args:
        failed: only those that did not complete.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    if not (home / FILE).exists():
        return
    with contextlib.closing(sqlite3.connect(f"{(home / FILE).absolute().as_uri()}?mode=ro", uri=True)) as database:
        names = [field.name for field in attrs.fields(Done)]
        where = "WHERE outcome <> 'completed'" if failed else ""
        query = f"SELECT {', '.join(names)} FROM jobs {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608 (our own names)
        for row in database.execute(query, (limit,)):
            yield Done(**dict(zip(names, row, strict=True)))

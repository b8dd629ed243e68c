"""What the node owes the gateway, on disk: attempts that run, and results that are not acknowledged.

A row is written when an attempt is accepted, filled with the result when it ends, and deleted at the acknowledgement;
the output files lie in a directory per attempt beside the database.  So after a ``kill -9`` nothing is forgotten: a
finished result is still there, and a row without one is an attempt that died with the agent.  SQLite with
``synchronous=FULL``: when ``finish`` returns, the result survives a power cut.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import trio

from edgeagent.errors import EdgeAgentError
from edgeagent.node import files
from edgeagent.node.receipts.keeper import Terms
from edgeagent.wire.codec import converter, structure
from edgeagent.wire.messages import JobDispatch, JobResult, Outcome

_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    attempt_id TEXT PRIMARY KEY,
    node_id TEXT NOT NULL,   -- whose it is: after a new registration the old node's rows are left alone
    job_id TEXT NOT NULL,
    job_type TEXT NOT NULL,  -- with the price what the node signs a receipt for
    price_ucr INTEGER NOT NULL,
    result TEXT              -- the job_result as JSON; NULL while the attempt runs
) STRICT
"""
T = TypeVar("T")


class Spool:
    """The rows of one node; opened by ``open_spool``, every call a thread hop unless it is ``inline``."""

    def __init__(
        self,
        database: sqlite3.Connection,
        directory: Path,
        node_id: str,
        *,
        inline: bool = False,
        durable: bool = True,
    ) -> None:
        self._inline, self._durable = inline, durable
        self._database = database
        self._outputs = directory / "outputs"
        self._node_id = node_id
        self._one_at_a_time = trio.CapacityLimiter(1)

    def outputs(self, attempt_id: str) -> Path:
        """Return where an attempt's output files lie, each under its position in ``JobResult.outputs``."""
        return self._outputs / attempt_id

    async def begin(self, dispatch: JobDispatch) -> None:
        """Note that an attempt runs, for a process that comes after this one.

        A power cut may take the note: the node comes back without the attempt then, which the gateway takes for lost,
        as it would with it.  Waiting for the disk would be a good part of what a short job takes.

        Raises:
            OSError, sqlite3.Error: the disk does not take it.
        """

        def write() -> None:
            self.outputs(dispatch.attempt_id).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._execute(
                "INSERT INTO attempts (attempt_id, node_id, job_id, job_type, price_ucr) VALUES (?, ?, ?, ?, ?)",
                dispatch.attempt_id,
                self._node_id,
                dispatch.job_id,
                dispatch.job_type,
                dispatch.price_ucr,
                synced=False,
            )

        await self._do(write)

    async def finish(self, result: JobResult) -> None:
        """Put a result, and the files that it lists, safely on disk.

        Raises:
            OSError, sqlite3.Error: the disk does not take it.
        """

        def write() -> None:
            directory = self.outputs(result.attempt_id)
            if result.outputs:
                for name in directory.iterdir():
                    _sync_file(name)
                files.sync_directory(directory)
            self._execute(
                "UPDATE attempts SET result = ? WHERE attempt_id = ?",
                json.dumps(converter.unstructure(result)),
                result.attempt_id,
                synced=True,
            )

        await self._do(write)

    async def drop(self, attempt_id: str) -> None:
        """Forget an attempt: the gateway has its result.

        A power cut may bring a result without files back, which the gateway then acknowledges once more; waiting for
        the disk would hold up the next job.  One with files is gone for good before they are.
        """

        def write() -> None:
            directory = self.outputs(attempt_id)
            has_files = directory.is_dir() and any(directory.iterdir())
            self._execute("DELETE FROM attempts WHERE attempt_id = ?", attempt_id, synced=has_files)
            shutil.rmtree(directory, ignore_errors=True)

        await self._do(write)

    async def recover(self) -> list[JobResult]:
        """Return the results that an earlier agent left, oldest first; what it had running becomes LOST, at once."""

        def read() -> list[JobResult]:
            rows = self._database.execute(
                "SELECT attempt_id, job_id, result FROM attempts WHERE node_id = ? ORDER BY rowid", (self._node_id,)
            ).fetchall()
            known = {row[0] for row in self._database.execute("SELECT attempt_id FROM attempts")}
            if self._outputs.exists():
                for left_over in [path for path in self._outputs.iterdir() if path.name not in known]:
                    shutil.rmtree(left_over, ignore_errors=True)
            return [_result(*row) for row in rows]

        results = await self._do(read)
        for result in results:
            if result.outcome is Outcome.LOST:
                await self.finish(result)
        return results

    async def terms(self) -> dict[str, Terms]:
        """Return what every attempt here is for."""

        def read() -> dict[str, Terms]:
            query = "SELECT attempt_id, job_type, price_ucr FROM attempts WHERE node_id = ?"
            rows = self._database.execute(query, (self._node_id,))
            return {attempt_id: Terms(job_type, price_ucr) for attempt_id, job_type, price_ucr in rows}

        return await self._do(read)

    async def size_bytes(self) -> int:
        """Return what the spool takes on disk."""

        def add_up() -> int:
            files_here = [path for path in self._outputs.parent.rglob("*") if path.is_file()]
            return sum(_size(path) for path in files_here)

        return await self._do(add_up)

    def _execute(self, statement: str, *values: str | int, synced: bool) -> None:
        if self._durable:
            self._database.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
        self._database.execute(statement, values)

    async def _do(self, work: Callable[[], T]) -> T:
        if self._inline:
            await trio.lowlevel.checkpoint()
            return work()
        return await trio.to_thread.run_sync(work, limiter=self._one_at_a_time)


@contextlib.asynccontextmanager
async def open_spool(home: Path, node_id: str, *, inline: bool = False, durable: bool = True) -> AsyncIterator[Spool]:
    """Open the spool in ``home`` for this process alone, making it where there is none.

    Args:
        inline: run everything in the caller's task, without threads.
        durable: False where a power cut may take the last results with it; both are for simulations.

    Raises:
        EdgeAgentError: another agent uses this home, or the files cannot be used.
    """
    directory = home / "spool"
    files.ensure_directory(home)
    files.ensure_directory(directory)
    with _locked(directory / "lock"):
        path = directory / "spool.db"
        try:
            opened = (path, "FULL" if durable else "OFF")
            database = _open_database(*opened) if inline else await trio.to_thread.run_sync(_open_database, *opened)
        except sqlite3.Error as error:
            raise EdgeAgentError(f"{path} cannot be used: {error}; move it away to start with an empty one") from None
        try:
            yield Spool(database, directory, node_id, inline=inline, durable=durable)
        finally:
            database.close()


def _open_database(path: Path, synchronous: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        path.chmod(0o600)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EdgeAgentError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            home = path.parent.parent
            raise EdgeAgentError(
                f"another edgeagent already runs from {home}; stop it, or set EDGEAGENT_HOME to another directory"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0  # delivered meanwhile


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _result(attempt_id: str, job_id: str, text: str | None) -> JobResult:
    detail = "the node was restarted while the job ran"
    if text is not None:
        try:
            return structure(json.loads(text), JobResult)
        except ValueError as error:  # written by another version
            detail = f"the spooled result cannot be read: {error}"[:1000]
    return JobResult(job_id=job_id, attempt_id=attempt_id, outcome=Outcome.LOST, detail=detail)

"""The node's log in its home, beside what goes to stderr: bounded, one JSON object a line, shown by ``edgeagent logs``.

Two files of at most ``MAX_BYTES`` each: the log that is written, and the one before it.  What jobs print is kept the
same way in files of its own, so that a talkative job cannot push out what the node has to say.  A full disk costs the
line, never the node.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

from edgeagent.wire.messages import JobDispatch

DIRECTORY, FILE, PRINTED = "logs", "node.log", "jobs.log"
MAX_BYTES = 4 << 20
#: Seconds between two looks at a log that is followed.
LOOK_S = 0.25

Json = dict[str, Any]


class Journal(RotatingFileHandler):
    """Appends to a log, which only its owner may read.

    Raises:
        OSError: there can be no file in that home.
    """

    def __init__(self, home: Path, max_bytes: int = MAX_BYTES, *, file: str = FILE) -> None:
        (home / DIRECTORY).mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(home / DIRECTORY / file, maxBytes=max_bytes, backupCount=1, encoding="utf-8")
        self._over = False

    def close(self) -> None:
        """Close the file for good."""
        self._over = True
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; none after the end, for which the library would open the file again and leave it open."""
        if not self._over:
            super().emit(record)

    def _open(self) -> TextIO:  # type: ignore[override]  # the library says TextIOWrapper, and needs no more than this
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the library's name)
        """Leave the line out."""


class Printed:
    """Keeps what jobs print; where there can be no file, nothing."""

    def __init__(self, home: Path, max_bytes: int = MAX_BYTES, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._journal: Journal | None = None
        with contextlib.suppress(OSError):
            self._journal = Journal(home, max_bytes, file=PRINTED)

    def keep(self, dispatch: JobDispatch, lines: Sequence[str]) -> None:
        """Write down some lines of one attempt."""
        if self._journal is None:
            return
        moment = datetime.fromtimestamp(self._now(), UTC).isoformat().replace("+00:00", "Z")
        about = {"job_id": dispatch.job_id, "attempt_id": dispatch.attempt_id}
        for line in lines:
            entry = {"timestamp": moment, "level": "printed", "event": line, **about}
            self._journal.handle(logging.makeLogRecord({"msg": json.dumps(entry)}))

    def close(self) -> None:
        """Close the file."""
        if self._journal is not None:
            self._journal.close()


def entries(home: Path, *, job: str | None = None, last: int | None = None) -> Iterator[Json]:
    """Yield what was logged, the oldest first.

    Args:
        job: only what is about this job or attempt, and what it printed.
        last: only so many.
    """
    found = [
        entry
        for file in _files(job)
        for path in (home / DIRECTORY / f"{file}.1", home / DIRECTORY / file)
        if path.exists()
        for entry in _parsed(path.read_bytes().splitlines())
        if _about(entry, job)
    ]
    if job is not None:
        found.sort(key=lambda entry: str(entry.get("timestamp", "")))
    yield from found if last is None else found[len(found) - min(last, len(found)) :]


def follow(
    home: Path, *, job: str | None = None, wait: Callable[[], None] = lambda: time.sleep(LOOK_S)
) -> Iterator[Json]:
    """Yield what is logged from this call on, across the change of files, without end; waits between two looks."""
    return _followed([_Tail(home / DIRECTORY / file) for file in _files(job)], job, wait)


def _followed(tails: list[_Tail], job: str | None, wait: Callable[[], None]) -> Iterator[Json]:
    while True:
        for tail in tails:
            yield from (entry for entry in _parsed(tail.read()) if _about(entry, job))
        wait()


class _Tail:
    """What is added to a file, which may be replaced by a new one."""

    def __init__(self, path: Path) -> None:
        self._path, self._older = path, path.with_name(f"{path.name}.1")
        self._inode, self._place = _inode(path), path.stat().st_size if path.exists() else 0

    def read(self) -> list[bytes]:
        """Return the whole lines since the last call."""
        lines = []
        if _inode(self._path) not in (self._inode, None):
            if _inode(self._older) == self._inode:  # what came between the last look and the change
                lines = _lines(self._older, self._place)[0]
            self._inode, self._place = _inode(self._path), 0
        if self._inode is not None:
            more, self._place = _lines(self._path, self._place)
            lines += more
        return lines


def _files(job: str | None) -> tuple[str, ...]:
    return (FILE,) if job is None else (FILE, PRINTED)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _lines(path: Path, place: int) -> tuple[list[bytes], int]:
    """Return the whole lines from ``place`` on, and where the next one starts."""
    try:
        with path.open("rb") as file:
            file.seek(place)
            whole, end, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return [], place
    return whole.splitlines(), place + len(whole) + len(end)


def _parsed(lines: list[bytes]) -> Iterator[Json]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # cut off by a crash
        if isinstance(entry, dict):
            yield entry


def _about(entry: Json, job: str | None) -> bool:
    return job is None or job in (entry.get("job_id"), entry.get("attempt_id"))

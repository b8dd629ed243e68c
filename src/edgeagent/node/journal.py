"""The node's log in its home, beside what goes to stderr: bounded, one JSON object a line, shown by ``edgeagent logs``.

Two files of at most ``MAX_BYTES`` each: the log that is written, and the one before it.  A full disk costs the line,
never the node.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

DIRECTORY, FILE = "logs", "node.log"
MAX_BYTES = 4 << 20
#: Seconds between two looks at a log that is followed.
LOOK_S = 0.25

Json = dict[str, Any]


class Journal(RotatingFileHandler):
    """Appends to the log, which only its owner may read.

    Raises:
        OSError: there can be no file in that home.
    """

    def __init__(self, home: Path, max_bytes: int = MAX_BYTES) -> None:
        (home / DIRECTORY).mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(home / DIRECTORY / FILE, maxBytes=max_bytes, backupCount=1, encoding="utf-8")

    def _open(self) -> TextIO:  # type: ignore[override]  # the library says TextIOWrapper, and needs no more than this
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the library's name)
        """Leave the line out."""


def entries(home: Path, *, job: str | None = None, last: int | None = None) -> Iterator[Json]:
    """Yield what was logged, the oldest first.

    Args:
        job: only what is about this job or attempt.
        last: only so many.
    """
    found = [
        entry
        for path in (home / DIRECTORY / f"{FILE}.1", home / DIRECTORY / FILE)
        if path.exists()
        for entry in _parsed(path.read_bytes().splitlines())
        if _about(entry, job)
    ]
    yield from found if last is None else found[len(found) - min(last, len(found)) :]


def follow(
    home: Path, *, job: str | None = None, wait: Callable[[], None] = lambda: time.sleep(LOOK_S)
) -> Iterator[Json]:
    """Yield what is logged from now on, across the change of files, without end; ``wait`` is called between looks."""
    path, older = home / DIRECTORY / FILE, home / DIRECTORY / f"{FILE}.1"
    inode, place = _inode(path), path.stat().st_size if path.exists() else 0
    while True:
        lines = []
        if _inode(path) not in (inode, None):
            if _inode(older) == inode:  # what came between the last look and the change
                lines = _lines(older, place)[0]
            inode, place = _inode(path), 0
        if inode is not None:
            more, place = _lines(path, place)
            lines += more
        yield from (entry for entry in _parsed(lines) if _about(entry, job))
        wait()


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

"""The files that jobs were given, kept by their SHA-256 for the next job that needs them.

Below the node's home: ``objects`` holds whole, checked files under their digests, ``partial`` what is still arriving,
``attempts`` a directory for each running attempt with links to the files that it uses.  The sandbox shows a job that
directory, read-only (``edgesandbox.shelf``).  A file is in ``objects`` by one rename, after it was flushed, so a crash
leaves a whole file or none; the index is in memory, and made from the disk at the start.

A file from before the start is read through and checked at its first use: the machine may have lost power since.
After that, size, time of change and inode tell whether it is still the one that was checked.  What no attempt uses is
dropped, the least lately used first, when there is no room.  Every method blocks, but for the properties.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import threading
from collections import Counter, OrderedDict
from pathlib import Path

import attrs
import structlog

from edgeagent.node import files
from edgeagent.node.fetch.partial import Partial

log = structlog.get_logger()

DIRECTORY, OBJECTS, PARTIAL, ATTEMPTS = "cache", "objects", "partial", "attempts"
_PAYLOAD = "payload-"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PIECE_BYTES = 1 << 20


def make_shelf(home: Path) -> Path:
    """Make the directory of what running attempts are given, for ``edgesandbox.Zygote(shelf=...)``, and return it.

    Raises:
        EdgeAgentError: it cannot be made.
    """
    files.ensure_directory(home)
    files.ensure_directory(home / DIRECTORY)
    shelf = home / DIRECTORY / ATTEMPTS
    files.ensure_directory(shelf)
    shelf.chmod(0o711)  # jobs pass through, and do not look around
    return shelf


@attrs.define
class _Entry:
    size_bytes: int
    mark: tuple[int, int] | None = None  # inode and time of change of what was checked


class Cache:
    """The cache of one node; thread-safe.

    Args:
        home: the node's.
        most_bytes: what all files may take together, arriving ones included.
    """

    def __init__(self, home: Path, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        directory = home / DIRECTORY
        self._objects, self._partial, self.attempts = (directory / name for name in (OBJECTS, PARTIAL, ATTEMPTS))
        self._lock = threading.RLock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the least lately used first
        self._users: Counter[str] = Counter()
        self._arriving: dict[str, int] = {}

    def open(self) -> None:
        """Make the directories, remove what an earlier node left of its attempts, and look at what is there.

        Raises:
            EdgeAgentError: a directory cannot be used.
            OSError: it cannot be read.
        """
        make_shelf(self._objects.parents[1])
        for path in (self._objects, self._partial):
            files.ensure_directory(path)
        for left in self.attempts.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        found = []
        for path in self._objects.iterdir():
            if _DIGEST.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                about = path.stat()
                found.append((about.st_mtime_ns, path.name, about.st_size))
            else:
                path.unlink(missing_ok=True)
        with self._lock:
            self._entries = OrderedDict((name, _Entry(size)) for _, name, size in sorted(found))
        self._trim_partials()

    def _trim_partials(self) -> None:
        """Keep what is worth going on with, the newest first, as far as there is room."""
        room = self.most_bytes - self.used_bytes
        parts = [path for path in self._partial.iterdir() if not path.name.endswith(".json")]
        for path in sorted(parts, key=lambda each: each.stat().st_mtime_ns, reverse=True):
            room -= path.stat().st_size
            if room < 0 or path.name.startswith(_PAYLOAD):
                self._drop_partial(path.name)
        for about in self._partial.glob("*.json"):
            if not about.with_suffix("").exists():
                about.unlink(missing_ok=True)

    @property
    def used_bytes(self) -> int:
        """What the whole files take."""
        return sum(entry.size_bytes for entry in self._snapshot().values())

    @property
    def evictable_bytes(self) -> int:
        """What of that no attempt uses."""
        return sum(entry.size_bytes for name, entry in self._snapshot().items() if not self._users[name])

    @property
    def promised_bytes(self) -> int:
        """What is still to come of the files that are arriving."""
        return sum(self._arriving.copy().values())

    def _snapshot(self) -> dict[str, _Entry]:
        with self._lock:
            return dict(self._entries)

    def partial(self, key: str) -> Partial:
        """Return what there is of a file that is to arrive."""
        return Partial(self._partial / key)

    def payload(self, attempt_id: str) -> Partial:
        """Return the same for an attempt's payload, which is nobody else's and does not stay."""
        return Partial(self._partial / f"{_PAYLOAD}{attempt_id}")

    def holds(self, sha256: str) -> bool:
        """Return whether there is such a file, unchecked; does not block."""
        return sha256 in self._entries

    def has(self, sha256: str, size_bytes: int | None) -> bool:
        """Return whether a file is here, and whole; from now on it is the last to be dropped.

        One that is not what it was is removed, and so it will be fetched again.
        """
        with self._lock:
            entry = self._entries.get(sha256)
        if entry is None or (size_bytes is not None and size_bytes != entry.size_bytes):
            return False
        path = self._objects / sha256
        try:
            about = path.stat()
            if about.st_size != entry.size_bytes or entry.mark != (about.st_ino, about.st_mtime_ns):
                self._check(path, sha256)
            os.utime(path)  # the order of use survives a restart
            about = path.stat()
        except (OSError, ValueError) as error:
            log.warning("File in the cache not usable", sha256=sha256, reason=str(error))
            self._drop(sha256)
            return False
        with self._lock:
            entry.mark = (about.st_ino, about.st_mtime_ns)
            if sha256 in self._entries:
                self._entries.move_to_end(sha256)
        return True

    def _check(self, path: Path, sha256: str) -> None:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
        if digest.hexdigest() != sha256:
            raise ValueError("it has changed on the disk")

    def expect(self, sha256: str, size_bytes: int) -> None:
        """Make room for a file that is about to arrive, and hold it until ``keep`` or ``give_up``.

        Raises:
            OSError: there is no room: running attempts use what is here.
        """
        with self._lock:
            self._arriving[sha256] = size_bytes
            over = self.used_bytes + self.promised_bytes - self.most_bytes
            if over > 0 and self.evict(over) < over:
                del self._arriving[sha256]
                raise OSError(f"the cache has no room for {size_bytes} bytes: running jobs use what is in it")

    def give_up(self, sha256: str) -> None:
        """Hold no room any more; what has arrived stays."""
        with self._lock:
            self._arriving.pop(sha256, None)

    def keep(self, partial: Partial) -> str:
        """Take over a file that has arrived and was checked; return its digest.

        Raises:
            OSError: the disk does not take it.
        """
        sha256, size_bytes = partial.sha256, partial.size_bytes
        target = self._objects / sha256
        partial.keep(target)
        files.sync_directory(self._objects)
        about = target.stat()
        with self._lock:
            self._entries[sha256] = _Entry(size_bytes, (about.st_ino, about.st_mtime_ns))
            self._entries.move_to_end(sha256)
            self._arriving.pop(sha256, None)
        return sha256

    def pin(self, sha256: str) -> None:
        """An attempt uses a file, from now until ``unpin``: it is not dropped."""
        with self._lock:
            self._users[sha256] += 1

    def unpin(self, sha256: str) -> None:
        """It does not any more."""
        with self._lock:
            self._users[sha256] -= 1
            if self._users[sha256] <= 0:
                del self._users[sha256]

    def lay_out(self, attempt_id: str, inputs: dict[str, str]) -> Path:
        """Make the directory that an attempt's job sees: its files, by digest, under their names.

        Raises:
            OSError: a file is gone, or the file system has no links.
        """
        directory = self.attempts / attempt_id
        directory.mkdir(mode=0o755)
        directory.chmod(0o755)
        for name, sha256 in inputs.items():
            os.link(self._objects / sha256, directory / name)
        return directory

    def clear_away(self, attempt_id: str) -> None:
        """Remove that directory."""
        shutil.rmtree(self.attempts / attempt_id, ignore_errors=True)

    def evict(self, wanted_bytes: int) -> int:
        """Drop files that nobody uses until so many bytes are free, or none is left; return how many are."""
        freed = 0
        with self._lock:
            for sha256, entry in list(self._entries.items()):
                if freed >= wanted_bytes:
                    break
                if not self._users[sha256]:
                    freed += entry.size_bytes
                    self._drop(sha256)
            if freed < wanted_bytes:
                freed += self._drop_partials()
        return freed

    def _drop_partials(self) -> int:
        """Drop what has come of files that nobody waits for; return how many bytes that were."""
        freed = 0
        for path in self._partial.iterdir() if self._partial.exists() else ():
            if _DIGEST.fullmatch(path.name) and path.name not in self._arriving:
                freed += path.stat().st_size
                self._drop_partial(path.name)
        return freed

    def _drop_partial(self, key: str) -> None:
        for name in (key, f"{key}.json"):
            (self._partial / name).unlink(missing_ok=True)

    def _drop(self, sha256: str) -> None:
        with self._lock:
            self._entries.pop(sha256, None)
        with contextlib.suppress(OSError):
            (self._objects / sha256).unlink(missing_ok=True)

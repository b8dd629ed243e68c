"""A consistent copy of a gateway's directory, made while it runs.

SQLite copies its own database (``VACUUM INTO`` reads one committed state while the writer goes on).  The database is
copied first and the files after it: a file is stored before the row that names it, and none is removed while the lock
is held, so every file that the copy names is there; that is checked.  Uploads in progress begin anew.

Files never change, so they are linked where the disk allows it; what is copied instead is compared with its digest.
The keys are part of the copy: without them every node would have to register anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
from pathlib import Path

import attrs

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import keyring
from edgeagent.gateway.blobs import locked
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.store.address import shown

_DATABASE = "gateway.db"


@attrs.frozen(kw_only=True)
class Copied:
    """What a backup holds; ``linked`` of its files share their bytes with the gateway's own.

    ``missing`` are digests of files that the database names and the gateway itself did not have.
    """

    database_bytes: int
    files: int
    file_bytes: int
    linked: int
    missing: tuple[str, ...]


def back_up(place: GatewaySettings, destination: Path) -> Copied:
    """Copy the gateway's directory into ``destination``, which must not exist; it is complete once it is there.

    Raises:
        UsageError: the database is in PostgreSQL, which has its own tools; or the destination is there already.
        EdgeAgentError: there is no gateway's directory, or something cannot be read or written.
    """
    if not isinstance(place.database, Path):
        raise UsageError(
            f"the database {shown(place.database)} is PostgreSQL's to copy: "
            f"pg_dump --format=custom --file=gateway.dump DATABASE; then copy {place.data_dir} (keys and files)"
        )
    if destination.exists():
        raise UsageError(f"{destination} exists; name a directory that does not")
    if not place.database.exists():
        raise EdgeAgentError(f"there is no gateway in {place.data_dir}")
    partial = destination.with_name(destination.name + ".part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700, parents=True)
        place.blobs.mkdir(mode=0o700, exist_ok=True)
        with locked(place.blobs, fcntl.LOCK_SH):  # what the database names is not collected before it was copied
            _copy_database(place.database, partial / _DATABASE)
            for name in (keyring.SIGNING, keyring.RETIRED):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copy2(place.data_dir / name, partial / name)
            linked = _copy_files(place.blobs, partial / "blobs")
        missing = _missing(partial)
        _sync(partial)
        partial.rename(destination)
    except (OSError, sqlite3.Error) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise EdgeAgentError(f"cannot back up {place.data_dir} into {destination}: {error}") from None
    files = [path for path in (destination / "blobs").rglob("*") if path.is_file()]
    return Copied(
        database_bytes=(destination / _DATABASE).stat().st_size,
        files=len(files),
        file_bytes=sum(path.stat().st_size for path in files),
        linked=linked,
        missing=missing,
    )


def _copy_database(source: Path, copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(f"file:{source.resolve()}?mode=ro", uri=True, timeout=10)) as database:
        database.execute("VACUUM INTO ?", (str(copy),))
    copy.chmod(0o600)


def _copy_files(source: Path, copy: Path) -> int:
    """Copy what is stored by digest; return how many files could be linked."""
    linked = 0
    copy.mkdir(mode=0o700)
    for path in sorted((source / "sha256").rglob("*")):
        if path.is_file():
            target = copy / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target)
                linked += 1
            except FileNotFoundError:
                pass  # removed meanwhile: nothing in the copied database names it
            except OSError:
                shutil.copy2(path, target)
                with target.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != path.name:
                        raise OSError(f"{path} is damaged: its digest is not its name") from None
    return linked


def _missing(copy: Path) -> tuple[str, ...]:
    with contextlib.closing(sqlite3.connect(copy / _DATABASE)) as database:
        wanted = "SELECT sha256 FROM outputs WHERE removed_at IS NULL UNION SELECT sha256 FROM files"
        named = sorted(row[0] for row in database.execute(wanted))
    return tuple(digest for digest in named if not (copy / "blobs" / "sha256" / digest[:2] / digest).exists())


def _sync(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""A PostgreSQL server for tests: in a folder of its own, reached by a socket in it, gone with the test run.

The server refuses to run as root; started by root it runs as the user that Debian's package makes, or as nobody.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

#: Real seconds after which a server that does not come up, or go down, has failed.
PATIENCE_S = 120.0
#: Nothing here outlives the run, so nothing need be on disk; small, because several runs may share a machine.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "autovacuum": "off",
}


def _programs() -> Path | None:
    """Where initdb and postgres are: Debian keeps them out of PATH, one folder for each version."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return Path(found).resolve().parent if found else next(reversed(debian), None)


def missing() -> str | None:
    """Return why no server can be started here, if so."""
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed (the extra 'postgres')"
    return None if _programs() else "PostgreSQL's server is not installed (Debian: postgresql)"


def _user() -> dict[str, Any]:
    """Who the server runs as, for ``subprocess``."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Server:
    """One server; databases are made in it as they are asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return once it answers."""
        settings = {**_SETTINGS, "unix_socket_directories": str(self._directory)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        log = (self._directory / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [str(self._program("postgres")), "-D", str(self._data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                **_user(),
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self._directory / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it: SIGINT ends connections in order, SIGQUIT at once."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE_S)
            self._process = None

    def make(self, template: str = "template0") -> sa.URL:
        """Make a database, empty or like ``template``, and return its address."""
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def drop(self, url: sa.URL) -> None:
        """Drop a database, whoever is still connected to it."""
        self.execute(f"DROP DATABASE {url.database} WITH (FORCE)")

    def url(self, name: str) -> sa.URL:
        """Return the address of a database here."""
        query = {"host": str(self._directory)}
        return sa.URL.create("postgresql+psycopg", username="tests", database=name, query=query)

    def execute(self, statement: str) -> None:
        """Run a statement beside everything else."""
        import psycopg

        where = {"host": str(self._directory), "user": "tests", "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as connection:
            connection.execute(statement)

    def initialise(self) -> None:
        """Make the folder's files."""
        command = [str(self._program("initdb")), "-D", str(self._data), "-U", "tests", "-A", "trust"]
        options = ["-E", "UTF8", "--locale", "C", "--no-sync"]
        subprocess.run([*command, *options], check=True, capture_output=True, cwd=self._directory, **_user())

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def _program(self, name: str) -> Path:
        programs = _programs()
        assert programs is not None
        return programs / name

    def _answers(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Run a server until the end of the block."""
    directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path is at most 107 bytes long
    try:
        if (user := _user()) != {}:
            os.chown(directory, user["user"], user["group"])
        server = Server(directory)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)

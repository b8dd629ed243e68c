"""The gateway's data directory, for the owner's commands: they work beside a running gateway or without one.

Whoever can write the directory owns the gateway anyway, so these commands need no token, and they work when the gateway
is down.  A running one sees what they did in its database.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from edgeagent.errors import EdgeAgentError
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.store import Tx
from edgeagent.gateway.store.address import shown
from edgeagent.gateway.store.base import wall_clock
from edgeagent.gateway.store.engine import migrate, open_engine
from edgeagent.gateway.texts import one_line


@contextmanager
def transaction(place: GatewaySettings) -> Iterator[Tx]:
    """Run the block in one transaction on the gateway's database, which is made when missing.

    Raises:
        EdgeAgentError: the directory or the database cannot be used.
    """
    with writing(place) as begin, begin() as tx:
        yield tx


@contextmanager
def writing(place: GatewaySettings) -> Iterator[Callable[[], AbstractContextManager[Tx]]]:
    """Give the block a way to begin one transaction after another, between which a running gateway has its turn.

    Raises:
        EdgeAgentError: as ``transaction``.
    """
    try:
        if place.postgres is None:
            make_data_dir(place.data_dir)
        engine = open_engine(place.database, writer=True)

        @contextmanager
        def begin() -> Iterator[Tx]:
            with engine.begin() as connection:
                yield Tx(connection, wall_clock())

        try:
            migrate(engine)
            yield begin
        finally:
            engine.dispose()
    except OSError as error:
        raise EdgeAgentError(f"cannot use {place.data_dir}: {error.strerror}") from None
    except DBAPIError as error:
        raise _unusable(place, error) from None


@contextmanager
def reading(place: GatewaySettings) -> Iterator[Tx]:
    """Run the block, which only reads, on one picture of the gateway's database; a running gateway is not held up.

    Raises:
        EdgeAgentError: there is no gateway in the directory, or the database cannot be used.
    """
    if isinstance(place.database, Path) and not place.database.exists():
        raise EdgeAgentError(f"there is no gateway in {place.data_dir}")
    engine = open_engine(place.database, writer=False)
    try:
        with engine.begin() as connection:
            yield Tx(connection, wall_clock())
    except DBAPIError as error:
        raise _unusable(place, error) from None
    finally:
        engine.dispose()


def owner() -> str:
    """Return how the audit log names whoever runs this process: by the user that the kernel knows."""
    try:
        return f"owner {pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"owner {os.getuid()}"


def make_data_dir(data_dir: Path) -> None:
    """Make the gateway's directory, for its owner alone: it holds the key and everyone's jobs."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise PermissionError(13, "not writable")


def _unusable(place: GatewaySettings, error: DBAPIError) -> EdgeAgentError:
    where = f"in {place.data_dir}" if place.postgres is None else shown(place.postgres)
    return EdgeAgentError(f"cannot use the database {where}: {one_line(str(error.orig))}")

"""Whoever writes to a database dies at a given statement, or just before a commit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def killed_at(engine: sa.Engine, number: int) -> Iterator[Callable[[], bool]]:
    """Run the block until its statement or commit of this number, counted from 1; gives a way to ask whether it came.

    The connection is closed in the middle of its transaction, which is all that a database sees of a killed process.
    """
    seen = 0

    def step(connection: sa.Connection, *_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            raw.close()
            raise Killed

    hooks = ("before_cursor_execute", "commit")
    for hook in hooks:
        event.listen(engine, hook, step)
    try:
        # What unwinds finds a closed connection.
        with contextlib.suppress(Killed, sa.exc.DBAPIError):
            yield lambda: seen >= number
    finally:
        for hook in hooks:
            event.remove(engine, hook, step)
        engine.dispose()  # the pool would hand out the closed connection again

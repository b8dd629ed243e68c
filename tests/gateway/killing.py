"""Whoever writes to a database is killed at a given statement, or just before a commit."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event


def killed_at(engine: sa.Engine, number: int, work: Callable[[], object]) -> bool:
    """Do ``work`` in a process of its own; False if it came to its end.

    It kills itself by SIGKILL before its statement or commit of this number, counted from 1, on whichever engine: it is
    in the middle of a transaction, and nothing unwinds.  What it did to objects in memory is gone with it.

    Args:
        engine: this process's, whose connections a forked process must not share; it makes new ones.
    """
    engine.dispose()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _die_at(number)
            work()
            code = 0
        except BaseException:  # nothing may go up into the test run that this process is a copy of
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def _die_at(number: int) -> None:
    seen = 0

    def step(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    for hook in ("before_cursor_execute", "commit"):
        event.listen(sa.Engine, hook, step)

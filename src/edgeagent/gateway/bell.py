"""Tells a running gateway that the owner has stored an order: a pipe with a name in the data directory.

Only a hint, and only on one machine: the order is in the database, and the gateway looks there by itself as well.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import trio

_NAME = "orders.pipe"


def ring(data_dir: Path) -> None:
    """Wake the gateway that runs in this directory, if there is one."""
    with contextlib.suppress(OSError):  # ENXIO: nobody has it open
        pipe = os.open(data_dir / _NAME, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            if stat.S_ISFIFO(os.fstat(pipe).st_mode):
                os.write(pipe, b"!")
        finally:
            os.close(pipe)


def is_answered(data_dir: Path) -> bool:
    """Return whether a gateway runs in this directory and hears the bell."""
    try:
        os.close(os.open(data_dir / _NAME, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
    except OSError:
        return False
    return True


async def answer(data_dir: Path, wake: Callable[[], None]) -> None:
    """Call ``wake`` for each ring until cancelled.

    Raises:
        OSError: the pipe cannot be made.
    """
    path = data_dir / _NAME
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # for writing too: without a writer it would always be readable
    try:
        while True:
            await trio.lowlevel.wait_readable(pipe)
            os.read(pipe, 4096)
            wake()
    finally:
        trio.lowlevel.notify_closing(pipe)
        os.close(pipe)
        path.unlink(missing_ok=True)

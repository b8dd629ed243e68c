"""Entries that wait for their start themselves: for ``Zygote(waits=True)``."""

from __future__ import annotations

import os
import select
import socket
import time

from hostile import answer


def work_ahead(channel: socket.socket, gate) -> None:
    """Use half a second of the processor and say, once started, when that was over."""
    while time.process_time() < 0.5:
        pass
    prepared = time.monotonic()
    gate.ready()
    select.select([gate.fd], [], [])
    gate.enter()
    answer(channel, [prepared, gate.fd])


def run_ahead(channel: socket.socket, gate) -> None:
    """Break before there is a job."""
    raise RuntimeError("nobody has prepared for this")


def never_enter(channel: socket.socket, gate) -> None:
    """Go on without a start."""
    gate.ready()
    answer(channel, "early")


def use_memory(channel: socket.socket, gate) -> None:
    """Fail for lack of memory, as a job."""
    gate.ready()
    gate.enter()
    raise MemoryError


def exit_with_seven(channel: socket.socket, gate) -> None:
    """End as a program does."""
    gate.ready()
    gate.enter()
    os.write(1, b"seven\n")
    raise SystemExit(7)

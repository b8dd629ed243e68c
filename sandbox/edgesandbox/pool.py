"""Sandboxes that are built ahead: confined to the last step, and waiting for the byte that starts the job.

A thread of the agent refills the pool: when a job that was started in one has ended, or else within a second, and never
while somebody waits for a cold one.  To wake it sooner would delay the job that is just starting.  It drops those that
die, and all of them while the machine, or a group of processes that this one is in, is short of memory, or when none
was asked for in a long time.  Each is handed out once at most: whoever takes a box out of the list, under the lock,
owns it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from edgesandbox.errors import SetupFailed
from edgesandbox.headroom import Headroom
from edgesandbox.spec import Spec

if TYPE_CHECKING:
    from edgesandbox.box import Box

# From the end of a job to refilling: the next one may be on its way.
SETTLE_S = 0.005
# How often memory and the number of boxes are looked at; also the pause after a box that died by itself.
LOOK_EVERY_S = 1.0
# Shares of the memory that are left, of the machine's or of a group's: below the first the pool is emptied, above the
# second refilled.
SHORT, ENOUGH = 0.10, 0.15
# Seconds without a job after which the boxes are given up: they hold memory, and a cold start costs milliseconds once.
QUIET_S = 600.0


class Pool:
    """Keeps up to ``size`` boxes ready, all built for one spec."""

    def __init__(self, build: Callable[[Spec], Box], spec: Spec, size: int) -> None:
        """Start filling.

        Args:
            build: makes a box whose job waits to be started.
            spec: what every box is built for.
            size: how many to keep, 1 or more.
        """
        self._build = build
        self._spec = spec
        self._size = size
        self._lock = threading.Lock()
        self._ready: deque[Box] = deque()
        self._waiting = 0  # for a cold box
        self._asked_at = time.monotonic()
        self._closing = threading.Event()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="edgesandbox-pool", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Return how many are ready."""
        return len(self._ready)

    def take(self, spec: Spec) -> Box | None:
        """Start a job in a box that is ready; None where there is none, or none that fits."""
        if spec != self._spec:
            return None
        self._asked_at = time.monotonic()
        while (box := self._pop()) is not None:
            if box.start():
                box.on_close = self._nudge
                return box
            box.close()  # it has died
        return None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Do not refill while somebody waits for a cold box."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
            self._nudge()

    def stop(self) -> None:
        """Refill no more; returns when no box is being built."""
        self._closing.set()
        self._nudge()
        self._thread.join()

    def close(self) -> None:
        """Stop, and drop what is ready."""
        self.stop()
        self._drop_all()
        with self._lock:
            if self._wake >= 0:
                os.close(self._wake)
            self._wake = -1

    def _pop(self) -> Box | None:
        with self._lock:
            return self._ready.popleft() if self._ready else None

    def _nudge(self) -> None:
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        rest = False
        headroom, share, look_at = Headroom(), 0.0, 0.0
        while not self._closing.is_set():
            if rest:
                self._closing.wait(LOOK_EVERY_S)
            rest = self._drop_dead()
            if time.monotonic() >= look_at:  # not for each job: it is a dozen files
                share, look_at = headroom.share(), time.monotonic() + LOOK_EVERY_S
            if share < SHORT or time.monotonic() > self._asked_at + QUIET_S:
                self._drop_all()
            elif share >= ENOUGH and not rest:
                rest = not self._fill()
            if not rest:
                self._sleep()

    def _sleep(self) -> None:
        """Return some time after a nudge, when a box dies, or when it is time to look at the memory."""
        while True:
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            with self._lock:
                for box in self._ready:
                    poll.register(box.control, select.POLLIN)
            heard = {fd for fd, _event in poll.poll(LOOK_EVERY_S * 1000)}
            if self._wake in heard:
                os.eventfd_read(self._wake)
                self._closing.wait(SETTLE_S)
            with self._lock:
                ours = {self._wake, *(box.control.fileno() for box in self._ready)}
            # Else a box that was handed out meanwhile reports its end, just when whoever has it is busy with that.
            if not heard or heard & ours:
                return

    def _fill(self) -> bool:
        """Build what is missing, unless somebody waits; False where that does not work now."""
        while len(self._ready) < self._size and not self._waiting and not self._closing.is_set():
            try:
                box = self._build(self._spec)
            except (SetupFailed, OSError):  # whoever asks for a box next is told why
                return False
            with self._lock:
                self._ready.append(box)
        return True

    def _drop_dead(self) -> bool:
        """Close those that have died, and say whether there were any."""
        with self._lock:
            dead = [box for box in self._ready if _readable(box.control)]
            for box in dead:
                self._ready.remove(box)
        for box in dead:
            box.close()
        return bool(dead)

    def _drop_all(self) -> None:
        while (box := self._pop()) is not None:
            box.close()


def _readable(control: socket.socket) -> bool:
    """Say whether there is something to read, or its end: a box that waits has nothing to say."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    return bool(poll.poll(0))

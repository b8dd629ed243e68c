"""Notices that the machine was asleep, so that the link is opened anew at once, and not after a long silence on it.

CLOCK_BOOTTIME goes on while a machine is suspended, and CLOCK_MONOTONIC, by which everything here waits, does not
(clock_gettime(2)): what the one is ahead since the last look is how long the machine slept.  Setting the wall's clock
changes neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import structlog
import trio

log = structlog.get_logger()

#: Seconds between two looks; after a sleep, what was left of them passes first.
LOOK_S = 2.0
#: Seconds of sleep that a link may outlive: the two clocks are read one after the other, and the gateway waits longer.
LEAST_S = 5.0


@attrs.frozen(kw_only=True)
class Clocks:
    """Both clocks at one moment, in seconds."""

    boot: float
    monotonic: float

    def slept(self, before: Clocks) -> float:
        """Return how many seconds the machine was asleep since ``before``; 0 for none that matters."""
        asleep = (self.boot - before.boot) - (self.monotonic - before.monotonic)
        return asleep if asleep >= LEAST_S else 0.0


def read() -> Clocks | None:
    """Return this machine's; None on a system that has no such clock."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    if boot is None:
        return None
    return Clocks(boot=time.clock_gettime(boot), monotonic=time.clock_gettime(time.CLOCK_MONOTONIC))


async def run(woken: Callable[[], None], look: Callable[[], Clocks | None] = read) -> None:
    """Call ``woken`` after each sleep until cancelled; return at once where the system does not tell."""
    before = look()
    while before is not None:
        await trio.sleep(LOOK_S)
        now = look()
        if now is not None and (asleep := now.slept(before)):
            log.info("The machine was asleep; connecting anew", asleep_s=round(asleep))
            woken()
        before = now

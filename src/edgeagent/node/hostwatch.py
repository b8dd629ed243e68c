"""Looks at the host for what its owner wants no jobs during, and notes it at the gate (``node.pauses`` decides).

Only what the owner has asked for is looked at.  psutil knows power and processor time on each system; who uses a Linux
desktop, systemd-logind knows.  psutil is imported where it is asked: most nodes never do.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Awaitable, Callable

import structlog
import trio

from edgeagent.node.gate import Gate
from edgeagent.node.pauses import Pauses, Readings, Times, Wishes, unheeded

log = structlog.get_logger()

#: Seconds between two looks.
LOOK_S = 10.0
#: Seconds that logind may take to answer.
ASK_S = 5.0
#: org.freedesktop.login1(5): true when all sessions are idle, also when there is none.
_IDLE_HINT = (
    *("--system", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1"),
    *("org.freedesktop.login1.Manager", "IdleHint"),
)


class Host:
    """This machine's readings.

    Attributes:
        unheeded: lines about wishes that come to nothing here, as of the last look.
    """

    def __init__(self, wishes: Wishes) -> None:
        self.unheeded: tuple[str, ...] = ()
        self._wishes = wishes
        self._times: Times | None = None

    async def read(self) -> Readings:
        """Return what was asked for, as it is now; the first time, nothing is known of others' programs."""
        wishes = self._wishes
        seen = Readings(
            on_battery=on_battery() if wishes.battery else None,
            active=await active() if wishes.activity_s is not None else None,
            others=await self._others() if wishes.load is not None else None,
        )
        self.unheeded = unheeded(wishes, seen)
        return seen

    async def _others(self) -> float | None:
        before, self._times = self._times, await trio.to_thread.run_sync(times)
        return None if before is None else self._times.others(before)


async def run(gate: Gate, wishes: Wishes, read: Callable[[], Awaitable[Readings]]) -> None:
    """Go by the host's readings until cancelled; return at once where the owner wants none."""
    if not wishes.any:
        return
    pauses, told = Pauses(), set[str]()
    while True:
        seen = await read()
        for line in unheeded(wishes, seen):
            if line not in told:
                told.add(line)
                log.warning(line)
        pauses = pauses.read(wishes, seen, trio.current_time())
        for code, reason in pauses.reasons().items():
            gate.note(code, reason)
        await trio.sleep(LOOK_S)


def on_battery() -> bool | None:
    """Say whether the machine runs on battery; None where it has none, or does not tell."""
    import psutil

    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, ValueError):  # a system for which psutil has no such call; an odd file in /sys
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


async def active(busctl: str = "busctl") -> bool | None:
    """Say whether somebody uses a session of this machine; None where systemd-logind cannot be asked."""
    program = shutil.which(busctl)
    if program is None:
        return None
    answer = b""
    with trio.move_on_after(ASK_S), contextlib.suppress(OSError):
        result = await trio.run_process(
            [program, *_IDLE_HINT], env={}, capture_stdout=True, stderr=subprocess.DEVNULL, check=False
        )
        answer = result.stdout.strip()
    return {b"b true": False, b"b false": True}.get(answer)


def times() -> Times:
    """Return the processor time that was used until now; blocks for some milliseconds."""
    import psutil

    spent = psutil.cpu_times()._asdict()  # guest time is in user's already; what is stolen is nobody's here
    busy = sum(spent.get(name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "interrupt", "dpc"))
    idle = sum(spent.get(name, 0.0) for name in ("idle", "iowait", "steal"))
    this = psutil.Process()
    own = 0.0
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            used = process.cpu_times()
            own += used.user + used.system + used.children_user + used.children_system
    return Times(total=busy + idle, busy=busy, own=own)

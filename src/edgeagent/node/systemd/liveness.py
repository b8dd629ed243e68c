"""Tells systemd that the node is up, what it does, and that it is alive: a task of the link ring.

A node whose event loop is blocked, or one of whose rings has fallen, says nothing any more, and is killed and started
again when ``WatchdogSec`` has passed.  Nobody else feeds the watchdog: a thread would go on with a dead loop beside it.
"""

from __future__ import annotations

import math

import attrs
import trio

from edgeagent.node.relay import BYE_S
from edgeagent.node.rings import FLUSH_S, KILL_S, Parts
from edgeagent.node.systemd.notify import Notifier

#: Seconds between two words to systemd where it keeps no watchdog; so old is what ``systemctl status`` shows.
EVERY_S = 10.0
#: What a drain takes at most when the jobs' time is up, and a little for the sandbox to end.
AFTERWARDS_S = KILL_S + FLUSH_S + BYE_S + 10.0


@attrs.frozen(kw_only=True)
class State:
    """What there is to tell of a node."""

    linked: bool
    running: int
    slots: int
    left_s: float | None = None  # of a drain, for running jobs; None: it does not drain
    restart: bool = False  # after the drain


def lines(state: State) -> list[str]:
    """Return what systemd is told.

    While it drains, systemd's patience is stretched to what the jobs still get: the owner may have given them another
    time than the one that the unit knows of.
    """
    jobs = f"{state.running} of {state.slots} slots in use"
    told = ["WATCHDOG=1"]
    if state.left_s is None:
        return [*told, f"STATUS={'Linked' if state.linked else 'Not linked'} to the gateway; {jobs}."]
    what = "Restarting with new options" if state.restart else "Draining"
    left = "for as long as they take" if math.isinf(state.left_s) else f"for {state.left_s:.0f} s more at most"
    told.append(f"STATUS={what}: {state.running} jobs run, {left}.")
    if not state.restart:
        usec = (min(state.left_s, 366 * 86400.0) + AFTERWARDS_S) * 1e6
        told += ["STOPPING=1", f"EXTEND_TIMEOUT_USEC={usec:.0f}"]
    return told


def interval_s(watchdog_s: float | None) -> float:
    """Return the seconds between two words: half of what systemd waits, as sd_watchdog_enabled(3) recommends."""
    return EVERY_S if watchdog_s is None else min(EVERY_S, watchdog_s / 2)


async def run(notifier: Notifier, parts: Parts) -> None:
    """Tell systemd until cancelled; at once that the node is up, and that it drains."""
    if notifier.to is None:
        return
    notifier.send("READY=1", *lines(_state(parts)))
    while True:
        with trio.move_on_after(interval_s(notifier.watchdog_s)):
            if parts.stop.asked:
                await trio.sleep_forever()
            await parts.stop.wait()
        notifier.send(*lines(_state(parts)))


def _state(parts: Parts) -> State:
    return State(
        linked=parts.session.connected,
        running=len(parts.attempts.running),
        slots=parts.agent.slots,
        left_s=parts.stop.left_s,
        restart=parts.stop.restart,
    )

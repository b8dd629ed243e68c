"""Stops what a window's end forbids, once it has had its time, and has the gateway told when windows open and close.

A job that runs when its window ends gets the grace that it would get if the node were stopped; then the gateway gets it
back.  Where the window opens again before that, nothing happens.  Looking at the wall every few seconds, instead of
sleeping until the next change, is right also where its clock is set, or the machine was asleep.
"""

from __future__ import annotations

import structlog
import trio

from edgeagent.node.attempts import Attempts
from edgeagent.node.gate import Gate

log = structlog.get_logger()

#: Seconds between two looks.
LOOK_S = 5.0
CLOSED = "its time on this node has ended: the schedule has no window for it now"


async def run(gate: Gate, attempts: Attempts, announced: tuple[str, ...], grace_s: float) -> None:
    """Go by the owner's windows until cancelled; return at once where there are none."""
    if not gate.around.plan.limited:
        return
    closed_at: dict[str, float] = {}
    before = gate.closed(announced)
    while True:
        now = trio.current_time()
        shut = [one for one in attempts.types if not gate.window_is_open(one)]
        for job_type in shut:
            if job_type not in closed_at:
                log.info("Window closed", job_type=job_type, grace_s=grace_s)
        closed_at = {one: closed_at.get(one, now) for one in shut}
        attempts.stop_some([one for one, since in closed_at.items() if now >= since + grace_s], CLOSED)
        if before != (before := gate.closed(announced)):
            gate.tell()
        await trio.sleep(LOOK_S)

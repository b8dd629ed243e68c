"""What signals have a node do: SIGTERM and SIGINT drain it, a second one stops it at once, SIGHUP starts it anew.

SIGHUP (``systemctl reload``) has the options checked first: where they are wrong, the node says so and goes on with
those that it has.  Otherwise it drains as always and then starts again in the same process.  From a terminal, SIGHUP
says that the terminal is gone, and is as good as SIGTERM.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable

import structlog
import trio

from edgeagent.errors import EdgeAgentError
from edgeagent.node.stopping import BY_SIGNAL, Stop

log = structlog.get_logger()

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
RELOADING = "the node is being restarted with new options"


def linger(wait_s: float, reason: str) -> None:
    """Say that the gateway refuses the node, and wait until it may end: ``wait_s``, or until SIGTERM or SIGINT.

    For where it is started again however it ended, as by Docker: it asks seldom then, and not every minute.
    """
    if wait_s:
        ends = (signal.SIGTERM, signal.SIGINT)
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        log.error("Refused by the gateway; the node waits before it ends", reason=reason, wait_s=wait_s)
        signal.sigtimedwait(ends, wait_s)


async def obey(
    received: AsyncIterator[int],
    stop: Stop,
    everything: trio.CancelScope,
    *,
    grace_s: float,
    check: Callable[[], object],
    terminal: bool | None = None,
) -> None:
    """Act on each signal until cancelled.

    Args:
        received: the numbers.
        stop: has the node drain.
        everything: cancelled to stop at once.
        grace_s: seconds that running jobs get.
        check: raises ``EdgeAgentError`` where the node could not start with the options as they are now.
        terminal: whether a person started the node from a terminal; unset, found out.
    """
    attended = sys.stdin.isatty() if terminal is None else terminal
    stopping = False
    async for number in received:
        log.info("Signal received", signal=signal.Signals(number).name)
        if number == signal.SIGHUP and not attended:
            _reload(stop, grace_s, check)
            continue
        if stopping:
            everything.cancel()
        stopping = True
        stop.request(grace_s, BY_SIGNAL)


def _reload(stop: Stop, grace_s: float, check: Callable[[], object]) -> None:
    try:
        check()
    except EdgeAgentError as error:
        log.error("Not reloaded", reason=str(error))  # noqa: TRY400 (expected; the reason says all)
        return
    if not stop.asked:
        stop.request(grace_s, RELOADING, restart=True)

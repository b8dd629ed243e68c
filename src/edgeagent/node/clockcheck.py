"""Words for a wrong clock: how far this machine's is from the gateway's, where certificates or tokens are refused.

The gateway's time is the ``Date`` of an answer over a connection that nobody has verified, since with a wrong clock
none can be: it goes into a message and decides nothing, and no token is sent.
"""

from __future__ import annotations

import email.utils
import time

import httpx2
import trio

from edgeagent import connections
from edgeagent.wire.units import format_duration
from edgeagent.wire.urls import GatewayUrl

#: Seconds that two clocks may differ; a header has whole seconds, and an answer takes a while.
LEAST_S = 60.0
#: Seconds that asking may take.
ASK_S = 10.0


def differ(ours: float, theirs: float) -> str:
    """Return in words how far this machine's clock is from the gateway's, both in seconds since the epoch.

    To the minute; empty where that is nothing that matters.
    """
    off_s = ours - theirs
    if abs(off_s) < LEAST_S:
        return ""
    side = "ahead of" if off_s > 0 else "behind"
    return (
        f"this machine's clock is {format_duration(60 * round(abs(off_s) / 60))} {side} the gateway's: "
        "set it (timedatectl set-ntp true), if it is not the gateway's that is wrong"
    )


async def compare(gateway: GatewayUrl) -> str:
    """Return what is to be said of the clocks; empty where they agree, or the gateway does not tell its time."""
    date = None
    with trio.move_on_after(ASK_S):
        try:
            async with connections.client(verify=False, timeout=ASK_S) as http:
                date = (await http.head(gateway.rest)).headers.get("date")
        except (httpx2.HTTPError, UnicodeError):
            return ""
    try:
        return differ(time.time(), email.utils.parsedate_to_datetime(date).timestamp()) if date else ""
    except (ValueError, OverflowError):
        return ""

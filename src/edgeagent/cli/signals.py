"""Turn SIGTERM and SIGINT into an event, and a second one into a cancellation."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import trio


async def run_until_signalled(serve: Callable[[trio.Event], Awaitable[None]]) -> None:
    """Run ``serve(stop)``; the first signal sets ``stop``, a second one cancels at once."""
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async for number in signals:
                    if stop.is_set():
                        nursery.cancel_scope.cancel(reason=f"second signal: {signal.Signals(number).name}")
                    stop.set()

            nursery.start_soon(listen)
            await serve(stop)
            nursery.cancel_scope.cancel(reason="done")

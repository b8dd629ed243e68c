"""What a running gateway says of itself in its data directory, for people and for the owner's commands.

``gateway.json`` holds its process, its address and its clock: deadlines are counted on the wall clock as it was when
the gateway started, however it is set later, and a command that queues a job beside the gateway has to count alike.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeagent.gateway import bell

_NAME = "gateway.json"


@contextmanager
def announced(data_dir: Path, url: str, steady_now: float) -> Iterator[None]:
    """Say where the gateway is, and what time it has (``hub.Hub.steady``), for as long as it runs."""
    path = data_dir / _NAME
    partial = path.with_suffix(".part")
    said = {"pid": os.getpid(), "url": url, "clock_ahead_s": steady_now - time.monotonic()}
    partial.write_text(json.dumps(said) + "\n")
    partial.rename(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def steady_now(data_dir: Path, wall_now: float) -> float:
    """Return the time that deadlines are counted from here, in seconds since the epoch.

    It is the running gateway's; ``wall_now`` where none runs, because the next one starts with that.
    """
    if not bell.is_answered(data_dir):  # one that was killed has left its announcement
        return wall_now
    try:
        return float(json.loads((data_dir / _NAME).read_bytes())["clock_ahead_s"]) + time.monotonic()
    except (OSError, ValueError, KeyError, TypeError):  # it ends at this moment, or somebody edited the file
        return wall_now

"""Jobs of this machine's own, through the same sandbox and executor that strangers' jobs get.

How many sandboxes it starts in a second, one after the other and as many at a time as a node has slots by default; and
each plugin's own benchmark job.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from edgeagent.node.executor import Finished
from edgeagent.node.sandboxed import SandboxExecutor
from edgeagent.wire.messages import JobDispatch, Outcome

#: Seconds for which sandboxes are started.
SPAN_S = 2.0


@attrs.frozen(kw_only=True)
class Score:
    """How one job went; times in seconds.  ``detail`` says why, where it did not complete."""

    job_type: str
    outcome: str
    wall_s: float
    cpu_s: float
    memory_peak_bytes: int
    detail: str = ""
    value: Any = None


async def starts(executor: SandboxExecutor, abreast: int, span_s: float = SPAN_S) -> float:
    """Return how many ``echo`` jobs a second go through, ``abreast`` at a time.

    Raises:
        RuntimeError: one did not.
    """
    done = 0

    async def go_on() -> None:
        nonlocal done
        while trio.current_time() - began < span_s:
            finished = await run(executor, "echo", {})
            if finished.outcome is not Outcome.COMPLETED:
                raise RuntimeError(f"an echo job did not complete: {finished.detail}")
            done += 1

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(abreast):
            nursery.start_soon(go_on)
    return done / (trio.current_time() - began)


async def score(executor: SandboxExecutor, job_type: str, payload: Mapping[str, Any]) -> Score:
    """Run a plugin's benchmark job once."""
    finished = await run(executor, job_type, payload)
    return Score(
        job_type=job_type,
        outcome=finished.outcome.value,
        wall_s=finished.usage.wall_s,
        cpu_s=finished.usage.cpu_s,
        memory_peak_bytes=finished.usage.memory_peak_bytes,
        detail=finished.detail,
        value=finished.value if _is_small(finished.value) else None,
    )


async def run(executor: SandboxExecutor, job_type: str, payload: Mapping[str, Any]) -> Finished:
    """Run one job; its files are thrown away."""
    dispatch = JobDispatch(
        job_id=str(uuid.uuid4()), attempt_id=str(uuid.uuid4()), job_type=job_type, payload=dict(payload)
    )
    with _outputs() as outputs:
        return await executor.run(dispatch, progress=lambda message: None, stop=trio.Event(), outputs=outputs)


@contextmanager
def _outputs() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgeagent-bench-") as place:
        yield Path(place)


def _is_small(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, int | float | str) for one in value.values())

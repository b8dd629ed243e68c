"""What runs an attempt: the interface, and what comes out of it.

``Executor`` is all that ``node.attempts`` knows of the sandbox, so that tests on a virtual clock can stand in for it.
The real one is ``node.sandboxed``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from edgeagent.wire.messages import Confinement, JobDispatch, JobProgress, Outcome, Output, Usage


@attrs.frozen(kw_only=True)
class Finished:
    """How an attempt ended on this machine; ``JobResult`` without the ids."""

    outcome: Outcome
    detail: str = ""
    value: Any = None
    result_ref: str | None = None
    outputs: tuple[Output, ...] = ()  # the files lie in the directory given to ``run``, named by position
    usage: Usage = attrs.Factory(Usage)
    sandbox: Confinement = attrs.Factory(Confinement)


class Executor(Protocol):
    """Runs attempts."""

    @property
    def tier(self) -> str:
        """The sandbox's tier, for Hello."""
        ...

    async def run(
        self,
        dispatch: JobDispatch,
        *,
        progress: Callable[[JobProgress], None],
        stop: trio.Event,
        outputs: Path,
        gpus: tuple[str, ...],
    ) -> Finished:
        """Run one attempt to its end, whatever that is; a job's fault is an outcome, never an exception.

        Args:
            progress: called now and then, from this task; must not block.
            stop: when set, the job is asked to end, and killed if it does not; the outcome is then ``CANCELLED``.
                Cancelling this call instead kills the job at once.
            outputs: an empty directory for the job's output files.
            gpus: uuids of those that the job may use.
        """
        ...

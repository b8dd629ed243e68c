"""Stands in for the sandbox: a job takes as long as its payload says, and ends as it says, or as luck has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from edgeagent import chance
from edgeagent.node.executor import Finished
from edgeagent.wire.messages import Confinement, JobDispatch, JobProgress, Outcome, Output, Usage

#: What goes wrong by chance, and how often: 96 of 100 attempts end as their job does.
LUCK = [(Outcome.EXITED, 2), (Outcome.MEMORY_LIMIT, 1), (Outcome.SETUP_FAILED, 1)]
#: Seconds that a job takes to end when it is told to.
STOP_S = 0.2


class StandIn:
    """An ``Executor``."""

    tier = "simulated"

    async def run(
        self,
        dispatch: JobDispatch,
        *,
        progress: Callable[[JobProgress], None],
        stop: trio.Event,
        outputs: Path,
        gpus: tuple[str, ...],
    ) -> Finished:
        """Run one attempt to its end."""
        takes_s, fate = float(dispatch.payload["seconds"]), Outcome(dispatch.payload["fate"])
        outcomes, weights = zip(*LUCK, (fate, 100 - sum(share for _, share in LUCK)), strict=True)
        (outcome,) = chance.rng().choices(outcomes, weights)
        used = Usage(wall_s=takes_s, cpu_s=takes_s / 2)
        for fraction in (0.25, 1.0):
            with trio.move_on_after(takes_s * (0.25 if fraction < 1 else 0.75)):
                await stop.wait()
            if stop.is_set():
                await trio.sleep(STOP_S)
                return Finished(outcome=Outcome.CANCELLED, usage=used)
            progress(JobProgress(attempt_id=dispatch.attempt_id, fraction=fraction, text="simulated"))
        if outcome is not Outcome.COMPLETED:
            return Finished(outcome=outcome, detail="simulated", usage=used)
        return Finished(
            outcome=outcome,
            value={"attempt": dispatch.attempt_id},
            outputs=_files(dispatch),
            usage=used,
            sandbox=Confinement(tier=self.tier),
        )


def _files(dispatch: JobDispatch) -> tuple[Output, ...]:
    digest = f"{int(dispatch.attempt_id.replace('-', ''), 16):064x}"
    return tuple(Output(name=f"{n}", size_bytes=n, sha256=digest) for n in range(int(dispatch.payload["files"])))

"""Stands in for the sandbox: a job takes as long as its payload says, and ends as it says, or as luck has it.

What a job comes to follows from its payload, so that honest nodes agree; a node that cheats makes something
up instead, at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import attrs
import orjson
import trio

from edgeagent import chance
from edgeagent.node.executor import Finished
from edgeagent.simulation.cheating import MADE_UP
from edgeagent.wire.messages import Confinement, JobDispatch, JobProgress, Outcome, Output, Usage

#: What goes wrong by chance, and how often: 96 of 100 attempts end as their job does.
LUCK = [(Outcome.EXITED, 2), (Outcome.MEMORY_LIMIT, 1), (Outcome.SETUP_FAILED, 1)]
#: Seconds that a job takes to end when it is told to.
STOP_S = 0.2


#: Seconds that it takes to make a result up.
LIE_S = 1.0


@attrs.frozen
class Honesty:
    """How often a node makes its results up, as a share; ``together`` with the other liars, so that these agree."""

    lies: float = 0.0
    together: bool = False


class StandIn:
    """An ``Executor``."""

    tier = "simulated"

    def __init__(self, honesty: Honesty) -> None:
        self._honesty = honesty

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
        lies = self._honesty.lies > 0 and chance.rng().random() < self._honesty.lies
        if lies:
            takes_s, fate = LIE_S, Outcome.COMPLETED
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
            value=self._made_up(dispatch) if lies else {"job": dispatch.payload},
            outputs=_files(dispatch),
            usage=used,
            sandbox=Confinement(tier=self.tier),
        )

    def _made_up(self, dispatch: JobDispatch) -> dict[str, str]:
        return {MADE_UP: "as agreed" if self._honesty.together else dispatch.attempt_id}


def _files(dispatch: JobDispatch) -> tuple[Output, ...]:
    digest = hashlib.sha256(orjson.dumps(dispatch.payload)).hexdigest()
    return tuple(Output(name=f"{n}", size_bytes=n, sha256=digest) for n in range(int(dispatch.payload["files"])))

"""What cheating nodes came to: how many of their results were found out, what they earned, and what checking cost.

A lie says that it is one in its value, under a name that the gateway knows nothing of, so it can be counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent.gateway.jobs import AttemptState, JobState
from edgeagent.gateway.store import Tx, tables
from edgeagent.wire.messages import Outcome

#: The field of a made-up value.
MADE_UP = "made_up"

_RESULTS = (
    sa.select(tables.attempts.c.node_id, tables.attempts.c.state, tables.jobs.c.price_ucr)
    .join_from(tables.attempts, tables.jobs)
    .where(tables.attempts.c.outcome == Outcome.COMPLETED.value)
)
_VALUES = sa.select(tables.jobs.c.value, tables.jobs.c.credited_ucr).where(
    tables.jobs.c.state == JobState.COMPLETED.value
)


@attrs.frozen(kw_only=True)
class Tally:
    """What cheating came to.

    Attributes:
        results: valid results, of whomever, that came in time to count.
        completed: jobs that were completed.
        caught: lies that were found out.
        accepted: completed jobs whose result is a lie.
        lies_paid_ucr: what was paid for these.
        blamed: results of honest nodes that were taken for lies.
    """

    results: int
    completed: int
    caught: int
    accepted: int
    lies_paid_ucr: int
    blamed: int

    @property
    def detected(self) -> float | None:
        """The share of lies that was found out, of those that were decided about; None where there are none."""
        return self.caught / (self.caught + self.accepted) if self.caught or self.accepted else None

    @property
    def overhead(self) -> float:
        """How many results more were worked out than jobs were completed, as a share of these."""
        return self.results / self.completed - 1 if self.completed else 0.0


def tally(tx: Tx, cheaters: Collection[str]) -> Tally:
    """Count what is stored; ``cheaters`` are the nodes that lie."""
    disputed = Counter[bool]()
    results = 0
    for row in tx.connection.execute(_RESULTS):
        results += row.state in {AttemptState.COMPLETED, AttemptState.DISPUTED, AttemptState.HELD}
        disputed[row.node_id in cheaters] += row.state == AttemptState.DISPUTED
    completed = tx.connection.execute(_VALUES).all()
    lies = [row.credited_ucr for row in completed if _is_lie(orjson.loads(row.value))]
    return Tally(
        results=results,
        completed=len(completed),
        caught=disputed[True],
        accepted=len(lies),
        lies_paid_ucr=sum(lies),
        blamed=disputed[False],
    )


def _is_lie(value: Any) -> bool:
    return isinstance(value, dict) and MADE_UP in value

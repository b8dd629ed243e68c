"""A submission as one transaction: the jobs, what comes with them, and the start of one that a node has room for."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from edgeagent.gateway.store import known, queue, submissions, views
from edgeagent.gateway.store.flights import Flight
from edgeagent.gateway.store.queue import Started
from edgeagent.gateway.store.submissions import Key, New, Submitted
from edgeagent.gateway.store.views import JobView
from edgeagent.gateway.store.writer import Tx


@attrs.frozen
class Stored:
    """What a submission led to: the jobs as they are shown, and the one of them that was started at once."""

    found: list[JobView]
    submitted: Submitted
    started: Started | None = None


def take(
    tx: Tx, account_id: str, batch: Sequence[New], steady_now: float, key: Key | None, flight: Flight | None
) -> Stored:
    """Store an account's jobs, and start ``flight``, which is of one of them.  Raises what ``submissions.submit`` does.

    Args:
        steady_now: what deadlines are counted from (``hub.Hub.steady``).
    """
    submitted = submissions.submit(tx, account_id, batch, steady_now, key)
    if submitted.replayed:
        return Stored(views.show_all(tx, account_id, submitted.job_ids), submitted)
    if submitted.known_due:
        asked = known.slip_in(tx, submitted.known_due, steady_now)
        submitted = attrs.evolve(submitted, waiting=submitted.waiting + asked)
    prices_ucr = zip(batch, submitted.prices_ucr, strict=True)
    found = [views.fresh(new, price_ucr, tx.now) for new, price_ucr in prices_ucr]
    started = {} if flight is None else queue.start(tx, [flight])
    return Stored(found, submitted, None if flight is None else started.get(flight.attempt_id))

"""Reads the books after a run and says what does not hold; each breach is one line.

The laws are the simulation's own (``edgeagent.simulation.laws``).  What only a run with real processes can know comes
on top: what submitters were told, what nodes wrote into their logs, and the files on the gateway's disk.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import attrs
import sqlalchemy as sa
from chaos_plan import Wanted

from edgeagent.gateway.store import Tx
from edgeagent.gateway.store.base import wall_clock
from edgeagent.gateway.store.engine import Database, open_engine
from edgeagent.gateway.store.tables import attempts, jobs, outputs
from edgeagent.simulation import laws


@attrs.frozen(kw_only=True)
class Witnessed:
    """What nodes wrote down: attempts that they were given, and what they were told that results earned."""

    given: frozenset[str]
    credited: Mapping[str, set[int]]


@attrs.frozen(kw_only=True)
class Audit:
    """What came out."""

    ended: Mapping[str, int]  # jobs by state
    attempts: int
    breaches: tuple[str, ...]


def witnessed(logs: Iterable[Path]) -> Witnessed:
    """Read what nodes logged; a last line may be cut, as its writer was killed."""
    given: set[str] = set()
    credited: dict[str, set[int]] = {}
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event.get("event") == "Received job_dispatch":
                given.add(event["attempt_id"])
            elif event.get("event") == "Result acknowledged":
                credited.setdefault(event["attempt_id"], set()).add(event["credited_ucr"])
    return Witnessed(given=frozenset(given), credited=credited)


def audit(database: Database, blobs: Path, accepted: Mapping[str, Wanted], seen: Witnessed) -> Audit:
    """Check everything, after a run."""
    engine = open_engine(database, writer=False)
    try:
        with engine.connect() as connection:
            tx = Tx(connection, wall_clock())
            states = connection.scalars(sa.select(jobs.c.state)).all()
            ids = set(connection.scalars(sa.select(attempts.c.attempt_id)))
            breaches = [
                *laws.breaches(tx, accepted, seen.credited, ended=True),
                *_unasked(tx, accepted),
                *(f"attempt {one} was given to a node and is not listed" for one in sorted(seen.given - ids)),
                *_files(tx, blobs, accepted),
            ]
    finally:
        engine.dispose()
    return Audit(ended=Counter(states), attempts=len(ids), breaches=tuple(breaches))


def _unasked(tx: Tx, accepted: Collection[str]) -> Iterator[str]:
    """A request that was repeated made no second job."""
    for job_id in tx.connection.scalars(sa.select(jobs.c.job_id).order_by(jobs.c.seq)):
        if job_id not in accepted:
            yield f"job {job_id} is one that nobody was told of"


def _files(tx: Tx, blobs: Path, accepted: Mapping[str, Wanted]) -> Iterator[str]:
    """A completed job's files are all there, and whole."""
    completed = sa.select(jobs.c.job_id, jobs.c.current_attempt).where(jobs.c.state == "COMPLETED")
    for job_id, attempt_id in tx.connection.execute(completed).all():
        found = tx.connection.execute(sa.select(outputs).where(outputs.c.attempt_id == attempt_id)).all()
        if job_id in accepted and len(found) != accepted[job_id].files:
            yield f"job {job_id} completed with {len(found)} files of {accepted[job_id].files}"
        for one in found:
            path = blobs / "sha256" / one.sha256[:2] / one.sha256
            content = path.read_bytes() if path.is_file() else None
            if content is None:
                yield f"{one.name} of job {job_id} is gone"
            elif (len(content), hashlib.sha256(content).hexdigest()) != (one.size_bytes, one.sha256):
                yield f"{one.name} of job {job_id} is damaged"

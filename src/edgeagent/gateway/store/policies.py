"""Which job types' results are checked, and how: what the owner has set, only ever added to."""

from __future__ import annotations

import functools

import attrs
import cattrs
import orjson
import sqlalchemy as sa

from edgeagent.gateway.store import audit
from edgeagent.gateway.store.trust_tables import trust_policies
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.trust import Policy

_NEWEST = sa.select(sa.func.max(trust_policies.c.seq)).group_by(trust_policies.c.job_type)
_CURRENT = sa.select(trust_policies.c.job_type, trust_policies.c.policy).where(
    trust_policies.c.seq.in_(_NEWEST), trust_policies.c.policy.is_not(None)
)
_converter = cattrs.Converter()


@attrs.frozen
class Set:
    """A policy, or None, that holds for a job type from ``since`` on, in seconds since the epoch."""

    job_type: str
    policy: Policy | None
    since: float


def current(tx: Tx) -> dict[str, Policy]:
    """Return the policies that hold now, by job type; a type without one is not checked."""
    return {row.job_type: _read(row.policy) for row in tx.connection.execute(_CURRENT)}


def change(tx: Tx, job_type: str, policy: Policy | None, actor: str) -> bool:
    """Set a policy for jobs submitted from now on, None to check no more; return False if it was so already."""
    if current(tx).get(job_type) == policy:
        return False
    written = None if policy is None else orjson.dumps(_converter.unstructure(policy)).decode()
    tx.connection.execute(sa.insert(trust_policies).values(job_type=job_type, policy=written, since=tx.now))
    audit.record(tx, actor, "trust.set", job_type, written or "off")
    return True


def history(tx: Tx) -> list[Set]:
    """Return every policy that was ever set, oldest first."""
    rows = tx.connection.execute(sa.select(trust_policies).order_by(trust_policies.c.seq))
    return [Set(row.job_type, None if row.policy is None else _read(row.policy), row.since) for row in rows]


@functools.lru_cache(maxsize=64)  # a job's result asks for one, and there are few
def _read(written: str) -> Policy:
    return _converter.structure(orjson.loads(written), Policy)

"""What is stored of trust in results, see ``gateway.trust``; part of ``store.tables``, kept apart for its length."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Double, ForeignKey, Integer, Table

from edgeagent.gateway.store.tables import metadata
from edgeagent.gateway.store.types import String, Text

_Serial = sa.BigInteger().with_variant(Integer, "sqlite")
_Big = sa.BigInteger

#: Every policy that the owner has set, in order; a job type's last one holds.
trust_policies = Table(
    "trust_policies",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("job_type", String(100), nullable=False),
    Column("policy", Text),  # JSON of trust.Policy; null: results are not checked any more
    Column("since", Double, nullable=False),
)

#: How nodes' results stood up, as far as any was compared.
reputations = Table(
    "reputations",
    metadata,
    Column("node_id", ForeignKey("nodes.node_id"), primary_key=True),
    Column("job_type", String(100), primary_key=True),
    Column("agreed", _Big, nullable=False),
    Column("disputed", _Big, nullable=False),
    Column("streak", _Big, nullable=False),
)

#: What attempts returned that waits, or waited, for others to agree; kept as evidence.
held_results = Table(
    "held_results",
    metadata,
    Column("attempt_id", ForeignKey("attempts.attempt_id"), primary_key=True),
    Column("operator", String(40), nullable=False),  # at that time
    Column("value", Text, nullable=False),  # JSON
    Column("result_ref", Text),
)

#: Completed jobs whose result the owner vouches for; ``jobs.known_answer`` are those that ask for it again.
known_answers = Table(
    "known_answers",
    metadata,
    Column("seq", _Serial, primary_key=True),
    Column("job_id", ForeignKey("jobs.job_id"), nullable=False, unique=True),
    Column("since", Double, nullable=False),
    Column("until", Double),  # null: it is still used
)

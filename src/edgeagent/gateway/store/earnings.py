"""What a node has earned, out of the books; summed in the database, since a node has many entries."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from edgeagent.gateway import ledger
from edgeagent.gateway.earnings import DAY_S, Earned
from edgeagent.gateway.ledger import Kind
from edgeagent.gateway.store.tables import OF_NODES, jobs, ledger_entries, ledger_postings
from edgeagent.gateway.store.writer import Tx


class _WholeDays(FunctionElement[int]):
    """Days since the epoch, of seconds since the epoch."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(_WholeDays)
def _floor(element: _WholeDays, compiler: Any, **options: Any) -> str:
    return f"CAST(FLOOR(({compiler.process(element.clauses, **options)}) / {DAY_S}) AS BIGINT)"


@compiles(_WholeDays, "sqlite")
def _truncate(element: _WholeDays, compiler: Any, **options: Any) -> str:
    # Not every SQLite has FLOOR; its CAST cuts off, where PostgreSQL's rounds.
    return f"CAST(({compiler.process(element.clauses, **options)}) / {DAY_S} AS INTEGER)"


_DAY = _WholeDays(ledger_entries.c.at).label("day")
_EARNED = (
    sa.select(
        _DAY,
        ledger_entries.c.kind,
        jobs.c.job_type,
        sa.func.count().label("entries"),
        sa.func.sum(ledger_postings.c.amount_ucr).label("ucr"),
    )
    .join_from(ledger_postings, ledger_entries)
    .join(
        jobs,
        sa.and_(
            jobs.c.job_id == ledger_entries.c.reference,
            ledger_entries.c.kind.in_([one.value for one in ledger.OF_JOBS]),
        ),
        isouter=True,
    )
    # The index is of nodes' accounts alone; a database uses it only where it sees its condition.
    .where(ledger_postings.c.account == sa.bindparam("account"), sa.text(OF_NODES))
    .group_by(_DAY, ledger_entries.c.kind, jobs.c.job_type)
    .order_by(_DAY, ledger_entries.c.kind, jobs.c.job_type)
)


def earned(tx: Tx, node_id: str) -> list[Earned]:
    """Return all that was posted to a node's account, summed by day, kind of entry and job type."""
    rows = tx.connection.execute(_EARNED, {"account": ledger.node_account(node_id)})
    return [Earned(row.day, Kind(row.kind), row.job_type, row.entries, int(row.ucr)) for row in rows]

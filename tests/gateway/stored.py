"""Requests to a store that write and read one plain table."""

from __future__ import annotations

import sqlalchemy as sa

from edgeagent.gateway.store import Tx, tables

_ADD = sa.insert(tables.job_types)


def add(tx: Tx, name: str) -> str:
    """A request that stores one row."""
    tx.connection.execute(_ADD, {"job_type": name})
    return name


def names(tx: Tx) -> list[str]:
    """Every row there is."""
    return sorted(tx.connection.scalars(sa.select(tables.job_types.c.job_type)))

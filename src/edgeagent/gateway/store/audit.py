"""Who did what to tokens, nodes, jobs and credits: entries are only ever added, and the database refuses anything else.

An entry is stored in the transaction that does the thing, so there is none without the other.  What jobs and nodes tell
of themselves (submissions, attempts, changes of state, postings) has its own tables and is not repeated here.
"""

from __future__ import annotations

import attrs
import sqlalchemy as sa

from edgeagent.gateway.store.tables import audit_entries
from edgeagent.gateway.store.writer import Tx


@attrs.frozen
class Entry:
    """One thing that was done, ``at`` in seconds since the epoch on the gateway's clock."""

    seq: int
    at: float
    actor: str
    action: str
    subject: str
    detail: str


def record(tx: Tx, actor: str, action: str, subject: str, detail: str = "") -> None:
    """Add an entry.

    Args:
        actor: ``owner USER`` for somebody at the gateway's machine, ``account ID``, or ``node ID``.
        action: what was done, like ``token.revoke``.
        subject: to what: an id, or a name.
    """
    tx.connection.execute(
        sa.insert(audit_entries).values(at=tx.now, actor=actor, action=action, subject=subject, detail=detail)
    )


def latest(tx: Tx, most: int) -> list[Entry]:
    """Return the last ``most`` entries, oldest first."""
    rows = tx.connection.execute(sa.select(audit_entries).order_by(audit_entries.c.seq.desc()).limit(most)).all()
    return [Entry(row.seq, row.at, row.actor, row.action, row.subject, row.detail) for row in reversed(rows)]

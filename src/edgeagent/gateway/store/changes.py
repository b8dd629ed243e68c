"""What an event changes in the tables of jobs: collected by whoever decides it, and written with few statements.

A statement costs more than a row, so results that come together are worth one statement of each kind for all of them,
not one for each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from edgeagent.gateway.ledger import Entry
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store import settlements, standings
from edgeagent.gateway.store.prepared import Many
from edgeagent.gateway.store.settlements import Due
from edgeagent.gateway.store.tables import attempt_logs, attempts, jobs, outputs
from edgeagent.gateway.store.writer import Tx
from edgeagent.wire.messages import Output
from edgeagent.wire.receipts import Settlement

_SET_JOB = Many(sa.update(jobs).where(jobs.c.job_id == sa.bindparam("id")))
_SET_ATTEMPT = Many(sa.update(attempts).where(attempts.c.attempt_id == sa.bindparam("id")))
_DROP_LINES = Many(sa.delete(attempt_logs).where(attempt_logs.c.attempt_id == sa.bindparam("id")))
_ADD_LINES = Many(sa.insert(attempt_logs))
_LIST = Many(
    sa.update(outputs)
    .where(outputs.c.attempt_id == sa.bindparam("attempt"), outputs.c.name == sa.bindparam("called"))
    .values(listed=sa.true())
)

_Rows = dict[tuple[str, ...], list[dict[str, Any]]]  # by the columns that they set


class Changes:
    """Changes of different jobs; nothing is written before ``write``."""

    def __init__(self) -> None:
        self._jobs: _Rows = {}
        self._attempts: _Rows = {}
        self._lines: dict[str, str] = {}
        self._entries: list[Entry] = []
        self._credits: dict[str, list[int]] = {}
        self._others: list[Callable[[Tx], None]] = []
        self._due: list[Due] = []
        self._listed: list[dict[str, str]] = []

    def job(self, job_id: str, **columns: Any) -> None:
        """Set columns of a job."""
        self._jobs.setdefault(tuple(columns), []).append({"id": job_id, **columns})

    def attempt(self, attempt_id: str, **columns: Any) -> None:
        """Set columns of an attempt."""
        self._attempts.setdefault(tuple(columns), []).append({"id": attempt_id, **columns})

    def lines(self, attempt_id: str, lines: Sequence[str]) -> None:
        """Store the last lines that an attempt printed, in place of any."""
        self._lines[attempt_id] = orjson.dumps(lines).decode()

    def post(self, entry: Entry) -> None:
        """Append an entry to the books."""
        self._entries.append(entry)

    def credit(self, node_id: str, amount_ucr: int) -> None:
        """Count a job that a node completed and what it earned; the money itself moves in the books."""
        self._credits.setdefault(node_id, []).append(amount_ucr)

    def listed(self, attempt_id: str, files: Sequence[Output]) -> None:
        """Note which files are in an attempt's receipt."""
        self._listed += [{"attempt": attempt_id, "called": one.name} for one in files]

    def settle(self, due: Due) -> None:
        """Give an attempt that is paid for its place among the month's settlements."""
        self._due.append(due)

    def also(self, other: Callable[[Tx], None]) -> None:
        """Have something done when everything is written: what few events need, and needs no collecting."""
        self._others.append(other)

    def write(self, tx: Tx) -> dict[str, Settlement]:
        """Write everything; return how those attempts were settled that are paid by it.

        Raises:
            CreditsShortError: an account would go below zero.
        """
        books.post_all(tx, self._entries)
        for statement, changed in ((_SET_JOB, self._jobs), (_SET_ATTEMPT, self._attempts)):
            for rows in changed.values():
                statement.run(tx, rows)
        if self._lines:
            _DROP_LINES.run(tx, [{"id": attempt_id} for attempt_id in self._lines])
            _ADD_LINES.run(tx, [{"attempt_id": one, "lines": text} for one, text in self._lines.items()])
        if self._credits:
            standings.credit(tx, self._credits)
        if self._listed:
            _LIST.run(tx, self._listed)
        settled = settlements.append(tx, self._due)
        for other in self._others:
            other(tx)
        return settled


def keep_lines(tx: Tx, attempt_id: str, lines: Collection[str]) -> None:
    """Store the last lines that an attempt printed, in place of any."""
    changes = Changes()
    changes.lines(attempt_id, tuple(lines))
    changes.write(tx)

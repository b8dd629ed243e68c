"""The node's receipts on disk: a SQLite file in its home that only its owner reads, for years.

A row is written before the spool forgets the result, with ``synchronous=FULL``: after a ``kill -9`` or a power cut
either the receipt is here, or the result is still in the spool, and is acknowledged again.  A receipt takes about
1 KiB; beyond ``MOST`` the oldest make room.  Blocking: ``keeper`` calls it in a thread.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from edgeagent.errors import EdgeAgentError
from edgeagent.node import files
from edgeagent.wire.messages import JobVerdict
from edgeagent.wire.receipts import Settlement, Statement, month_bounds

FILE = "receipts.db"
#: Receipts that are kept: about 1 GiB, or 27 years of a hundred paid jobs a day.
MOST = 1_000_000
#: Seconds that one process waits for another's change.
BUSY_S = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS receipts (
    seq INTEGER PRIMARY KEY,
    node_id TEXT NOT NULL,          -- as the gateway knew this machine then
    attempt_id TEXT NOT NULL UNIQUE,
    month TEXT NOT NULL,            -- of the settlement; where there is none, by this machine's clock
    document TEXT NOT NULL,         -- the receipt, as it is signed
    price_ucr INTEGER NOT NULL,
    node_signature TEXT NOT NULL,
    credited_ucr INTEGER NOT NULL,
    place INTEGER,                  -- in the month; NULL: the gateway gave no settlement
    settled_at INTEGER,
    signature TEXT NOT NULL,        -- the gateway's, of the settlement
    key_id TEXT NOT NULL,
    unpaid TEXT NOT NULL,           -- why nothing was paid, as the gateway says
    held INTEGER NOT NULL           -- the gateway has not said yet what it pays
) STRICT;
CREATE INDEX IF NOT EXISTS receipts_month ON receipts (node_id, month);
CREATE INDEX IF NOT EXISTS receipts_held ON receipts (node_id, seq) WHERE held;
CREATE TABLE IF NOT EXISTS gateway_keys (
    node_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public_key TEXT NOT NULL,
    PRIMARY KEY (node_id, key_id)
) STRICT;
CREATE TABLE IF NOT EXISTS statements (
    node_id TEXT NOT NULL,
    month TEXT NOT NULL,
    size INTEGER NOT NULL,
    root TEXT NOT NULL,
    credited_ucr INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    signature TEXT NOT NULL,
    key_id TEXT NOT NULL,
    disputed INTEGER NOT NULL,      -- it contradicts one that was seen before: evidence
    PRIMARY KEY (node_id, month, size, root, disputed)
) STRICT;
"""
# The columns stand in the order of the fields of Kept, and of Statement and Signed.
_KEEP = (
    "INSERT INTO receipts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (attempt_id) DO UPDATE SET"
    " month = excluded.month, node_signature = excluded.node_signature, credited_ucr = excluded.credited_ucr,"
    " place = excluded.place, settled_at = excluded.settled_at, signature = excluded.signature,"
    " key_id = excluded.key_id, unpaid = excluded.unpaid, held = excluded.held WHERE held AND NOT excluded.held"
)
_REMEMBER = "INSERT OR REPLACE INTO statements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SETTLE = (
    "UPDATE receipts SET held = 0, credited_ucr = ?, unpaid = ?, month = coalesce(?, month), place = ?,"
    " settled_at = ?, signature = coalesce(?, signature), key_id = coalesce(?, key_id),"
    " node_signature = coalesce(?, node_signature) WHERE node_id = ? AND attempt_id = ? AND held"
)
#: What a verdict without a settlement has in place of its fields.
_NONE: tuple[str | int | None, ...] = (None,) * 6
_STATEMENT = tuple(field.name for field in attrs.fields(Statement))


@attrs.frozen(kw_only=True)
class Kept:
    """A receipt, and what the gateway said that it paid for it; ``signature`` and ``key_id`` are of that."""

    attempt_id: str
    month: str
    document: str
    price_ucr: int
    node_signature: str
    credited_ucr: int
    place: int | None = None
    settled_at: int | None = None
    signature: str = ""
    key_id: str = ""
    unpaid: str = ""
    held: bool = False

    def settlement(self, receipt_sha256: str) -> Settlement | None:
        """Return what the gateway has signed; None where it gave no settlement."""
        if self.place is None or self.settled_at is None:
            return None
        return Settlement(
            receipt_sha256=receipt_sha256,
            node_signature=self.node_signature,
            credited_ucr=self.credited_ucr,
            month=self.month,
            index=self.place,
            settled_at=self.settled_at,
        )


@attrs.frozen
class Signed:
    """A statement with the gateway's signature in hex, and the ``kid`` of the key that made it."""

    statement: Statement
    signature: str
    key_id: str


_KEPT = tuple(field.name for field in attrs.fields(Kept))


class Book:
    """The receipts of one node; opened by ``open_book``."""

    def __init__(self, database: sqlite3.Connection, node_id: str, most: int = MOST) -> None:
        """Use a database, in which tables are made when missing."""
        self._database, self._node_id, self._most = database, node_id, most
        database.executescript(_SCHEMA)

    def keep(self, kept: Kept) -> None:
        """Put a receipt safely on disk; one that is there already stays as it is, but for one that was held.

        A result that was held is told again where its acknowledgement was lost, and may be decided by then.

        Raises:
            sqlite3.Error: the disk does not take it.
        """
        with self._database as transaction:
            transaction.execute(_KEEP, (self._node_id, *attrs.astuple(kept)))
            transaction.execute("DELETE FROM receipts WHERE seq <= (SELECT max(seq) FROM receipts) - ?", (self._most,))

    def settle(self, verdict: JobVerdict) -> bool:
        """Note what became of a result that the gateway had held; False where no receipt waits for that.

        Raises:
            sqlite3.Error: the disk does not take it.
            ValueError: the settlement's month is none.
        """
        how, unpaid = _NONE, "" if verdict.credited_ucr else verdict.reason
        if (said := verdict.settled) is not None:
            month_bounds(said.month)
            how = (said.month, said.index, said.settled_at, said.signature, said.key_id, said.node_signature)
        values = (verdict.credited_ucr, unpaid, *how, self._node_id, verdict.attempt_id)
        with self._database as transaction:
            return transaction.execute(_SETTLE, values).rowcount > 0

    def held(self, after: int, most: int) -> list[tuple[int, str]]:
        """Return receipts of which the gateway has not said what it pays: their numbers, and their attempts' ids.

        Args:
            after: the number of the last one that was seen; 0 to begin with.
            most: how many at most.
        """
        query = "SELECT seq, attempt_id FROM receipts WHERE node_id = ? AND held AND seq > ? ORDER BY seq LIMIT ?"
        return self._database.execute(query, (self._node_id, after, most)).fetchall()

    def receipts(self, month: str) -> list[Kept]:
        """Return the receipts of a month, oldest first."""
        query = "SELECT * FROM receipts WHERE node_id = ? AND month = ? ORDER BY seq"
        rows = self._database.execute(query, (self._node_id, month))
        return [_kept(row[2:]) for row in rows]

    def learn(self, keys: dict[str, str]) -> None:
        """Remember public keys of the gateway by their ``kid``, for good."""
        with self._database as transaction:
            transaction.executemany(
                "INSERT OR IGNORE INTO gateway_keys VALUES (?, ?, ?)",
                [(self._node_id, key_id, public_key) for key_id, public_key in keys.items()],
            )

    def keys(self) -> dict[str, str]:
        """Return every public key of the gateway's that was ever seen, by its ``kid``."""
        query = "SELECT key_id, public_key FROM gateway_keys WHERE node_id = ?"
        return dict(self._database.execute(query, (self._node_id,)).fetchall())

    def remember(self, seen: Signed, *, disputed: bool = False) -> None:
        """Remember a statement, in place of the earlier ones that it follows; a disputed one beside them."""
        values = attrs.astuple(seen.statement, recurse=False)
        with self._database as transaction:
            if not disputed:
                transaction.execute(
                    "DELETE FROM statements WHERE node_id = ? AND month = ? AND NOT disputed",
                    (self._node_id, seen.statement.month),
                )
            transaction.execute(_REMEMBER, (self._node_id, *values, seen.signature, seen.key_id, disputed))

    def statement(self, month: str) -> Signed | None:
        """Return the last statement of a month that was seen, and followed those before it."""
        query = "SELECT * FROM statements WHERE node_id = ? AND month = ? AND NOT disputed"
        row = self._database.execute(query, (self._node_id, month)).fetchone()
        if row is None:
            return None
        _, *values, signature, key_id, _ = row
        fields = dict(zip(_STATEMENT, values, strict=True))
        return Signed(Statement(**{**fields, "closed": bool(fields["closed"])}), signature, key_id)


def _kept(row: Sequence[Any]) -> Kept:
    fields = dict(zip(_KEPT, row, strict=True))
    return Kept(**{**fields, "held": bool(fields["held"])})


@contextlib.contextmanager
def open_book(home: Path, node_id: str, *, durable: bool = True) -> Iterator[Book]:
    """Open the receipts in ``home``, which are made when missing; a running node and commands may do so at once.

    Args:
        durable: False where a power cut may take the last receipts with it, in simulations.

    Raises:
        EdgeAgentError: the file cannot be used.
    """
    path = home / FILE
    files.ensure_directory(home)
    try:
        database = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
    except sqlite3.Error as error:
        raise _unusable(path, error) from None
    with contextlib.closing(database):
        try:
            path.chmod(0o600)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            book = Book(database, node_id)
        except (OSError, sqlite3.Error) as error:
            raise _unusable(path, error) from None
        yield book


def _unusable(path: Path, error: Exception) -> EdgeAgentError:
    return EdgeAgentError(f"{path} cannot be used: {error}; restore it from a backup, or move it away to start anew")

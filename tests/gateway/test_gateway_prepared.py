"""Statements whose text is made once say what SQLAlchemy's own would, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from edgeagent.gateway.store import Store, Tx
from edgeagent.gateway.store.prepared import Among, Many
from edgeagent.gateway.store.tables import ledger_accounts as books

_ADD = Many(sa.insert(books))
_SET = Many(sa.update(books).where(books.c.account == sa.bindparam("name")))
_NAMED = Among(
    sa.select(books.c.account, books.c.balance_ucr)
    .where(books.c.account.in_(sa.bindparam("names", expanding=True)))
    .order_by(books.c.balance_ucr),
    "names",
)


def _add(tx: Tx, *names: str) -> None:
    _ADD.run(tx, [{"account": name, "balance_ucr": place} for place, name in enumerate(names)])


def _found(tx: Tx, *names: str) -> list[tuple[str, int]]:
    return [(row.account, row.balance_ucr) for row in _NAMED.rows(tx, names)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 700])
async def test_rows_are_found_once_however_many_are_asked_for(store: Store, count: int) -> None:
    """In the statement's order, whatever the number of values; nothing else is found."""
    names = [f"{number:03}" for number in range(count)]
    await store.write(_add, "other", *names)

    found = await store.read(_found, *reversed(names))

    assert found == [(name, place) for place, name in enumerate(names, 1)]


async def test_an_update_changes_each_row_as_it_says(store: Store) -> None:
    """One statement, different values; the row that is not named stays."""
    await store.write(_add, "a", "b", "c")

    def change(tx: Tx) -> None:
        _SET.run(tx, [{"name": "a", "balance_ucr": 7}, {"name": "c", "balance_ucr": 9}])

    await store.write(change)
    assert await store.read(_found, "a", "b", "c") == [("b", 1), ("a", 7), ("c", 9)]


async def test_a_nul_is_stored_and_looked_for_as_everywhere_else(store: Store) -> None:
    """PostgreSQL has none in a text."""
    await store.write(_add, "a\0b")
    assert await store.read(_found, "a\0b") == [("a\ufffdb", 0)]

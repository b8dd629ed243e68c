"""Statements for many rows at once, whose text is made once and not for every call.

SQLAlchemy prepares each row of an ``executemany`` and each value of an ``IN`` anew, which takes longer than the work
itself.  Here a statement is compiled once for each set of columns, or for each power of two of values, and given to the
driver as text; what a column's type does to its values is done here too.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from edgeagent.gateway.store.types import String, Text, without_nul
from edgeagent.gateway.store.writer import Tx

_Process = Callable[[Any], Any]


@attrs.frozen
class _Compiled:
    """A statement's text, the names of its parameters in the driver's order, and what to do to their values."""

    text: str
    names: tuple[str, ...]
    positional: bool
    processes: tuple[tuple[int, _Process], ...]

    def values(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the rows as the driver takes them."""
        if len(self.names) == 1:
            taken = [[row[self.names[0]]] for row in rows]
        else:
            pick = operator.itemgetter(*self.names)
            taken = [list(pick(row)) for row in rows]
        for place, process in self.processes:
            for one in taken:
                one[place] = process(one[place])
        if self.positional:
            return [tuple(one) for one in taken]
        return [dict(zip(self.names, one, strict=True)) for one in taken]


class Many:
    """An INSERT, UPDATE or DELETE that is run with many rows of parameters; of text, it takes values as they are."""

    def __init__(self, statement: sa.Insert | sa.Update | sa.Delete | sa.TextClause) -> None:
        self._statement = statement
        self._compiled: dict[tuple[str, tuple[str, ...]], _Compiled] = {}

    def run(self, tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it with these parameters; every row has the same names, in the same order, and there is at least one."""
        dialect = tx.connection.dialect
        key = (dialect.name, tuple(rows[0]))
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = self._compile(dialect, key[1])
        tx.connection.exec_driver_sql(compiled.text, compiled.values(rows))

    def _compile(self, dialect: sa.Dialect, columns: Sequence[str]) -> _Compiled:
        made = self._statement.compile(dialect=dialect, column_keys=list(columns), for_executemany=True)
        names = made.positiontup if made.positional else list(made.binds)
        assert names is not None
        return _compiled(dialect, made.string, names, made.positional, [made.binds[name].type for name in names])


class Among:
    """A SELECT of rows that have one of many values: those of its only parameter, an expanding one."""

    def __init__(self, statement: sa.Select[*tuple[Any, ...]], name: str) -> None:
        self._statement = statement
        self._name = name
        self._compiled: dict[tuple[str, int], _Compiled] = {}

    def rows(self, tx: Tx, values: Sequence[Any]) -> Sequence[sa.Row[*tuple[Any, ...]]]:
        """Return the rows, in the statement's order; none for no values."""
        if not values:
            return []
        dialect = tx.connection.dialect
        # A power of two, so that there are few texts; the last value is there more than once then.
        key = (dialect.name, 1 << (len(values) - 1).bit_length())
        padded = [*values, *[values[-1]] * (key[1] - len(values))]
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = self._compile(dialect, padded)
        (parameters,) = compiled.values([dict(zip(compiled.names, padded, strict=True))])
        return tx.connection.exec_driver_sql(compiled.text, parameters).all()

    def _compile(self, dialect: sa.Dialect, padded: Sequence[Any]) -> _Compiled:
        made = self._statement.compile(dialect=dialect)
        expanded = made.construct_expanded_state({self._name: padded})
        names = tuple(expanded.parameter_expansion[self._name])
        kinds = [made.binds[self._name].type] * len(names)
        return _compiled(dialect, expanded.statement, names, expanded.positiontup is not None, kinds)


def _compiled(
    dialect: sa.Dialect, text: str, names: Sequence[str], positional: bool, kinds: Sequence[TypeEngine[Any]]
) -> _Compiled:
    processes = [(place, _process(kind, dialect)) for place, kind in enumerate(kinds)]
    needed = tuple((place, process) for place, process in processes if process is not None)
    return _Compiled(text, tuple(names), positional, needed)


def _process(kind: TypeEngine[Any], dialect: sa.Dialect) -> _Process | None:
    if isinstance(kind, String | Text):
        return without_nul  # what its ``process_bind_param`` comes to, without two calls in between
    return kind.dialect_impl(dialect).bind_processor(dialect)

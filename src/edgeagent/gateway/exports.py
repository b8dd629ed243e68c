"""The books as text for other programs: CSV, JSON, and plain-text accounting (hledger reads it, ledger too).

Each function yields pieces of text, so a ledger of any size passes through.  Amounts are exact decimals of a credit.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import attrs

from edgeagent.gateway.store.ledger import Recorded
from edgeagent.gateway.texts import one_line
from edgeagent.wire.units import format_credits

#: The commodity's name in plain-text accounting.
_COMMODITY = "CR"


@attrs.frozen
class Held:
    """An account in the books; ``name`` is its submitter's or node's, empty for the network's own."""

    account: str
    name: str
    balance_ucr: int


def as_csv(entries: Iterable[Recorded], _: Iterable[Held]) -> Iterator[str]:
    """Yield one line for each posting; times are UTC."""
    yield _csv("seq", "at", "kind", "reference", "memo", "account", "credits", "hash")
    for one in entries:
        for posting in one.postings:
            amount = format_credits(posting.amount_ucr)
            yield _csv(one.seq, _time(one.at), one.kind, one.reference, one.memo, posting.account, amount, one.hash)


def as_json(entries: Iterable[Recorded], accounts: Iterable[Held]) -> Iterator[str]:
    """Yield one document: every account with its balance, and every entry with its postings, in micro-credits."""
    yield '{"schema": "edgeagent.ledger/1",\n"accounts": ['
    yield from _joined(attrs.asdict(one) for one in accounts)
    yield '],\n"entries": ['
    yield from _joined({**attrs.asdict(one), "at": _time(one.at), "at_s": one.at} for one in entries)
    yield "]}\n"


def as_hledger(entries: Iterable[Recorded], accounts: Iterable[Held]) -> Iterator[str]:
    """Yield a journal that ends by asserting every balance, so whoever loads it has checked them."""
    accounts = list(accounts)
    yield f"; edgeagent ledger\ncommodity 1.000000 {_COMMODITY}\n"
    for account in accounts:
        yield f"account {account.account}{'  ; ' + _words(account.name) if account.name else ''}\n"
    newest = 0.0
    for one in entries:
        newest = max(newest, one.at)
        what = " ".join(part for part in (one.kind, _words(one.reference)) if part)
        said = f"{_words(one.memo)}, hash {one.hash}" if one.memo else f"hash {one.hash}"
        yield f"\n{_date(one.at)} * ({one.seq}) {what}  ; {said}\n"
        for posting in one.postings:
            yield f"    {posting.account}  {format_credits(posting.amount_ucr)} {_COMMODITY}\n"
    yield f"\n{_date(newest)} * balances\n"
    for account in accounts:
        yield f"    {account.account}  0 {_COMMODITY} = {format_credits(account.balance_ucr)} {_COMMODITY}\n"


#: Formats by the name that a person asks for.
FORMATS: dict[str, Callable[[Iterable[Recorded], Iterable[Held]], Iterator[str]]] = {
    "csv": as_csv,
    "json": as_json,
    "hledger": as_hledger,
}


def _csv(*fields: object) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(fields)
    return line.getvalue()


def _joined(documents: Iterable[object]) -> Iterator[str]:
    for number, document in enumerate(documents):
        yield ("\n" if number == 0 else ",\n") + json.dumps(document)


def _words(text: str) -> str:
    """One line without what a journal gives a meaning to."""
    return one_line(text).replace(";", ",").replace("|", "/")


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")

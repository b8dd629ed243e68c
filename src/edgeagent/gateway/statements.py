"""A month's payouts as a statement: CSV and JSON for programs, and a page to print.

Each function yields pieces of text, so a month of any number of nodes passes through.  Amounts are exact decimals of a
credit, in JSON whole micro-credits.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import attrs

from edgeagent.gateway.payouts import State
from edgeagent.gateway.rails.manual import cell
from edgeagent.gateway.store.payouts import Month, Payout
from edgeagent.wire.units import format_credits

_COLUMNS = ("month", "node", "name", "state", "credits", "address", "rail", "reference", "why", "made at", "changed at")


def as_csv(month: Month, payouts: Iterable[Payout], now: float) -> Iterator[str]:
    """Yield one line for each node; what strangers wrote is made so that no spreadsheet computes it."""
    yield _line(*_COLUMNS)
    for one in payouts:
        texts = [cell(text) for text in (one.address, one.rail, one.reference, one.why)]
        amount, times = format_credits(one.amount_ucr), (_time(one.made_at), _time(one.changed_at))
        yield _line(one.month, one.node_id, cell(one.name), one.state.value, amount, *texts, *times)


def as_json(month: Month, payouts: Iterable[Payout], now: float) -> Iterator[str]:
    """Yield one document: the month's totals, and every node with its payout."""
    head = {"schema": "edgeagent.payout-statement/1", "as_of": _time(now), **month_document(month)}
    yield json.dumps(head)[:-1] + ',\n"payouts": ['
    for number, one in enumerate(payouts):
        yield ("\n" if number == 0 else ",\n") + json.dumps(payout_document(one))
    yield "]}\n"


def as_html(month: Month, payouts: Iterable[Payout], now: float) -> Iterator[str]:
    """Yield a page that stands alone."""
    from edgeagent.gateway.api.pages import static, templates

    style = static("statement.css").decode()
    yield from page(month, payouts, now, templates.get_template("statement.html").generate, style)


def page(
    month: Month, payouts: Iterable[Payout], now: float, generate: Callable[..., Iterator[str]], style: str = ""
) -> Iterator[str]:
    """Yield the page, with a style of its own or with a link to the gateway's."""
    states = [(one, month.nodes[one], month.ucr[one]) for one in State if one in month.nodes]
    return generate(month=month, states=states, payouts=payouts, now=now, style=style)


def month_document(month: Month) -> dict[str, object]:
    """Return a month's totals for a program."""
    states = {
        one.value: {"nodes": month.nodes[one], "amount_ucr": month.ucr[one]} for one in State if one in month.nodes
    }
    return {"month": month.month, "complete": month.done_at is not None, "states": states}


def payout_document(payout: Payout) -> dict[str, object]:
    """Return a payout for a program."""
    times = {"made_at": _time(payout.made_at), "changed_at": _time(payout.changed_at)}
    return {**attrs.asdict(payout), "state": payout.state.value, **times}


#: Formats by the name that a person asks for.
FORMATS: dict[str, Callable[[Month, Iterable[Payout], float], Iterator[str]]] = {
    "csv": as_csv,
    "json": as_json,
    "html": as_html,
}


def _line(*fields: object) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(fields)
    return line.getvalue()


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")

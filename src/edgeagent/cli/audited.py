"""How a verdict on a month's receipts is written, for a person and for a program.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeagent.node.receipts.audit import Verdict
from edgeagent.node.receipts.book import Signed
from edgeagent.wire.units import format_credits

#: How a statement is shown in JSON.
_PARTS = ("size", "root", "credited_ucr", "issued_at", "closed")


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Yield what ``edgeagent earnings verify`` prints."""
    settled = [one for one in verdict.receipts if one.place is not None]
    yield f"{verdict.month}: {len(settled)} receipts, {format_credits(verdict.settled_ucr)} credits"
    if verdict.statement is not None:
        of = verdict.statement.statement
        how = "closed" if of.closed else "so far"
        yield f"statement ({how}): {of.size} receipts, {format_credits(of.credited_ucr)} credits, root {of.root}"
    elif verdict.earned_ucr is not None:
        yield "statement: the gateway has none of this month"
    if verdict.seen_before is not None:
        yield f"seen before: a statement of {verdict.seen_before.statement.size} receipts"
    for one in verdict.corrections:
        memo = f": {one.memo}" if one.memo else ""
        yield f"{one.kind} (entry {one.entry}, {one.reference}): {format_credits(one.amount_ucr)} credits{memo}"
    yield from _books(verdict)
    for kept in verdict.unpaid:
        yield f"not paid: attempt {kept.attempt_id}: {kept.unpaid}"
    for fault in verdict.faults:
        yield f"{fault.kind}: {f'attempt {fault.attempt_id}: ' if fault.attempt_id else ''}{fault.what}"
    if verdict.earned_ucr is None:
        yield "checked without the gateway: only what it had signed for each receipt"
    elif not verdict.faults:
        yield "all holds: each receipt is in the statement, and the past was not rewritten"


def _books(verdict: Verdict) -> Iterator[str]:
    if verdict.earned_ucr is None:
        return
    yield f"the gateway's books: {format_credits(verdict.earned_ucr)} credits earned"
    more = verdict.earned_ucr - verdict.settled_ucr - sum(one.amount_ucr for one in verdict.corrections)
    if more > 0:
        yield f"{format_credits(more)} of these are for results of which this home has no receipt"


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """Return what ``edgeagent earnings verify --json`` prints."""
    return {
        "month": verdict.month,
        "good": not verdict.faults,
        "receipts": sum(one.place is not None for one in verdict.receipts),
        "settled_ucr": verdict.settled_ucr,
        "statement": _statement(verdict.statement),
        "seen_before": _statement(verdict.seen_before),
        "corrections": [
            {"entry": one.entry, "kind": one.kind, "reference": one.reference, "amount_ucr": one.amount_ucr}
            for one in verdict.corrections
        ],
        "earned_ucr": verdict.earned_ucr,
        "unpaid": [{"attempt_id": one.attempt_id, "why": one.unpaid} for one in verdict.unpaid],
        "faults": [{"kind": one.kind.value, "attempt_id": one.attempt_id, "what": one.what} for one in verdict.faults],
    }


def _statement(signed: Signed | None) -> dict[str, Any] | None:
    if signed is None:
        return None
    return {name: getattr(signed.statement, name) for name in _PARTS} | {"key_id": signed.key_id}

"""A node's earnings by day, month and job type, as its operator asks for them.  Pure; months and days are UTC's.

What counts is what the books say: a completed job's price, less what was refunded, and what the gateway's owner has
corrected.  Free jobs make no entry, and payouts, less what came back of them, are shown beside the earnings, not taken
off them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import attrs

from edgeagent.gateway.ledger import OF_PAYOUTS, Kind

DAY_S = 86400


@attrs.frozen
class Earned:
    """One day's entries of one kind for one job type; ``job_type`` is None where no job caused them."""

    day: int  # since the epoch
    kind: Kind
    job_type: str | None
    entries: int
    ucr: int


@attrs.frozen
class Sum:
    """What one day, month or job type has brought; ``name`` says which."""

    name: str
    jobs: int
    earned_ucr: int
    paid_out_ucr: int


@attrs.frozen(kw_only=True)
class Earnings:
    """A node's earnings.  ``days`` and ``job_types`` are those of ``month``, ``months`` are all; oldest first."""

    month: str
    total: Sum
    today: Sum
    days: tuple[Sum, ...]
    job_types: tuple[Sum, ...]
    months: tuple[Sum, ...]


def earnings(rows: Iterable[Earned], month: str | None, now: float) -> Earnings:
    """Return the earnings of a month, and every month's sum.

    Args:
        rows: all of the node's, oldest first.
        month: as ``2026-10``; None for the one that ``now`` is in.
        now: seconds since the epoch.
    """
    rows, today = list(rows), _day(int(now // DAY_S))
    wanted = today[:7] if month is None else month
    within = [row for row in rows if _day(row.day).startswith(wanted)]
    days = _sums(within, lambda row: _day(row.day))
    return Earnings(
        month=wanted,
        total=next(iter(_sums(within, lambda _: wanted)), Sum(wanted, 0, 0, 0)),
        today=next((one for one in _sums(rows, lambda row: _day(row.day)) if one.name == today), Sum(today, 0, 0, 0)),
        days=days,
        job_types=_sums([row for row in within if row.kind not in OF_PAYOUTS], lambda row: row.job_type or ""),
        months=_sums(rows, lambda row: _day(row.day)[:7]),
    )


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()


def _sums(rows: Iterable[Earned], name: Callable[[Earned], str]) -> tuple[Sum, ...]:
    found: dict[str, Sum] = {}
    for row in rows:
        before = found.get(name(row), Sum(name(row), 0, 0, 0))
        paid = row.kind in OF_PAYOUTS
        found[before.name] = Sum(
            before.name,
            before.jobs + (row.entries if row.kind is Kind.SETTLE else 0),
            before.earned_ucr + (0 if paid else row.ucr),
            before.paid_out_ucr - (row.ucr if paid else 0),
        )
    return tuple(found[one] for one in sorted(found))

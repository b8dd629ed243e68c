"""Checks a month of the node's receipts against what the gateway publishes of it, and remembers what it saw.

What can be checked without the gateway comes first: whether it has signed what it paid.  The statement that is good is
kept, and so is one that contradicts an earlier one: both carry the gateway's signature, which is evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from edgeagent.errors import RefusedError
from edgeagent.node.receipts import check
from edgeagent.node.receipts.book import Book, Kept, Signed
from edgeagent.node.receipts.check import Fault, Kind

#: Proofs that are asked for at a time; the gateway gives no more.
TOGETHER = 100


@attrs.frozen(kw_only=True)
class Correction:
    """An entry in the gateway's books that changed what was earned beside the settlements: a refund, an adjustment."""

    entry: int
    kind: str
    reference: str
    amount_ucr: int
    memo: str


class Source(Protocol):
    """What a gateway publishes; each raises ``RefusedError`` or ``UnreachableError``."""

    async def keys(self) -> dict[str, str]:
        """Return its public keys by their ``kid``."""
        ...

    async def statement(self, month: str) -> Signed | None:
        """Return a month's statement; None where it says that there is none."""
        ...

    async def inclusion(self, month: str, indices: Sequence[int], size: int) -> list[list[bytes]]:
        """Return a proof for each of these leaves."""
        ...

    async def consistency(self, month: str, first: int, second: int) -> list[bytes]:
        """Return the proof between two sizes."""
        ...

    async def corrections(self, month: str) -> list[Correction]:
        """Return what changed this node's earnings beside its settlements."""
        ...

    async def earned_ucr(self, month: str) -> int:
        """Return what its books say that this node has earned."""
        ...


@attrs.frozen(kw_only=True)
class Verdict:
    """What was looked at, and what is wrong with it."""

    month: str
    receipts: tuple[Kept, ...]
    statement: Signed | None = None
    seen_before: Signed | None = None
    corrections: tuple[Correction, ...] = ()
    earned_ucr: int | None = None  # None: the gateway was not asked
    faults: tuple[Fault, ...]

    @property
    def settled_ucr(self) -> int:
        """What the receipts that were settled come to."""
        return sum(one.credited_ucr for one in self.receipts if one.place is not None)

    @property
    def unpaid(self) -> tuple[Kept, ...]:
        """Receipts that nothing was paid for, for a reason that the gateway gave."""
        return tuple(one for one in self.receipts if one.place is None and one.unpaid)


def offline(book: Book, month: str) -> Verdict:
    """Check what can be checked without the gateway: its signatures on the receipts, with the keys that were seen."""
    kept, seen = book.receipts(month), book.statement(month)
    faults = check.receipts(kept, book.keys())
    return Verdict(month=month, receipts=tuple(kept), seen_before=seen, faults=tuple(faults))


async def audit(book: Book, source: Source, month: str) -> Verdict:
    """Check a month.

    Raises:
        RefusedError: the gateway has no such books, or does not take the node's token.
        UnreachableError: the gateway does not answer.
    """
    book.learn(await source.keys())
    keys, kept, seen = book.keys(), book.receipts(month), book.statement(month)
    faults = check.receipts(kept, keys)
    now = await source.statement(month)
    faults += await _statement(book, source, month, seen, now, keys)
    faults += await _inclusion(source, kept, now)
    faults += check.sums(kept, now)
    corrections, earned_ucr = await source.corrections(month), await source.earned_ucr(month)
    faults += check.books(kept, sum(one.amount_ucr for one in corrections), earned_ucr)
    return Verdict(
        month=month,
        receipts=tuple(kept),
        statement=now,
        seen_before=seen,
        corrections=tuple(corrections),
        earned_ucr=earned_ucr,
        faults=tuple(faults),
    )


async def _statement(
    book: Book, source: Source, month: str, seen: Signed | None, now: Signed | None, keys: Mapping[str, str]
) -> list[Fault]:
    if now is None:
        gone = seen is not None and seen.statement.size > 0
        return [Fault(Kind.STATEMENT, "the gateway has none any more; one was seen before")] if gone else []
    if faults := check.statement(now, month, keys):
        return faults
    faults = [] if seen is None else check.succession(seen, now, await _between(source, seen, now))
    book.remember(now, disputed=bool(faults))
    return faults


async def _between(source: Source, seen: Signed, now: Signed) -> list[bytes]:
    first, second = seen.statement.size, now.statement.size
    if not 0 < first < second:
        return []
    try:
        return await source.consistency(now.statement.month, first, second)
    except RefusedError:
        return []  # no proof proves nothing


async def _inclusion(source: Source, kept: Sequence[Kept], now: Signed | None) -> list[Fault]:
    settled = [one for one in kept if one.place is not None]
    if now is None:
        return [
            Fault(Kind.MISSING, "the gateway publishes no statement of the month", one.attempt_id) for one in settled
        ]
    faults: list[Fault] = []
    there = [one for one in settled if (one.place or 0) < now.statement.size]
    for start in range(0, len(there), TOGETHER):
        some = there[start : start + TOGETHER]
        proofs: list[list[bytes]] | list[None]
        try:
            proofs = await source.inclusion(now.statement.month, [one.place or 0 for one in some], now.statement.size)
        except RefusedError:
            proofs = [None] * len(some)
        for one, proof in zip(some, proofs, strict=True):
            faults += check.inclusion(one, now, proof)
    for one in settled:
        if (one.place or 0) >= now.statement.size:
            faults += check.inclusion(one, now, None)
    return faults

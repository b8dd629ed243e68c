"""Checks a month of the node's receipts against what the gateway publishes of it, and remembers what it saw.

What can be checked without the gateway comes first: whether it has signed what it paid.  The statement that is good is
kept, and so is one that contradicts an earlier one: both carry the gateway's signature, which is evidence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
import trio

from edgeagent.errors import RefusedError
from edgeagent.node.receipts import check
from edgeagent.node.receipts.book import Book, Kept, Signed
from edgeagent.node.receipts.check import Fault, Kind, Proof
from edgeagent.node.receipts.recall import recall
from edgeagent.wire.messages import JobVerdict

#: Proofs that are asked for at a time; the gateway gives no more.
TOGETHER = 50


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

    async def verdicts(self, attempt_ids: Sequence[str]) -> list[JobVerdict]:
        """Return what became of results that it had held, as far as that is decided."""
        ...

    async def statement(self, month: str) -> Signed | None:
        """Return a month's statement; None where it says that there is none."""
        ...

    async def inclusion(self, month: str, leaves: Sequence[bytes], size: int) -> dict[bytes, Proof]:
        """Return the proofs that leaves with these hashes are in the tree of that size, of those that are."""
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
    await _hear(book, source)
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


async def _hear(book: Book, source: Source) -> None:
    """Have the verdicts noted that the node has not heard yet, of whichever month."""

    async def held(after: int, most: int) -> list[tuple[int, str]]:
        await trio.lowlevel.checkpoint()
        return book.held(after, most)

    async def note(verdict: JobVerdict) -> None:
        await trio.lowlevel.checkpoint()
        with contextlib.suppress(ValueError):  # a settlement that cannot be one is none
            book.settle(verdict)

    await recall(held, source.verdicts, note)


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
    held = [(one, how.leaf) for one in settled if (how := one.settlement(check.digest(one))) is not None]
    leaves = [leaf for _, leaf in held]
    proofs: dict[bytes, Proof] = {}
    for start in range(0, len(leaves), TOGETHER):
        with contextlib.suppress(RefusedError):  # no proof proves nothing
            proofs |= await source.inclusion(now.statement.month, leaves[start : start + TOGETHER], now.statement.size)
    return [fault for one, leaf in held for fault in check.inclusion(one, now, proofs.get(leaf))]

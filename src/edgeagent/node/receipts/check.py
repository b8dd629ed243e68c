"""Does what a gateway says of a month agree with the node's own receipts?  Pure: each function returns what does not.

Three things are held against each other: receipts (what the node did, and what the gateway signed that it pays for it),
the statement that the gateway publishes, and the last statement that this node has seen.  Whatever the gateway changes
in the past contradicts one of them.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import attrs

from edgeagent.node.receipts.book import Kept, Signed
from edgeagent.wire import identity, merkle
from edgeagent.wire.merkle import follows, includes
from edgeagent.wire.units import format_credits


class Kind(enum.StrEnum):
    """What is wrong."""

    MISSING = "missing"  # the statement does not hold the receipt
    DIFFERENT = "different"  # the gateway has signed something else than the price, or not signed at all
    UNPAID = "unpaid"  # nothing was paid, and the gateway does not say why
    STATEMENT = "statement"  # the statement itself does not hold, or contradicts an earlier one
    BOOKS = "books"  # the gateway's books say less than receipts and corrections come to


@attrs.frozen
class Fault:
    """Something that does not hold; ``attempt_id`` is the receipt's, empty where it is none's."""

    kind: Kind
    what: str
    attempt_id: str = ""


@attrs.frozen
class Proof:
    """Where a leaf stands in a month's tree, as a gateway says, and the hashes that are to prove it."""

    index: int
    hashes: Sequence[bytes]


def receipts(kept: Iterable[Kept], keys: Mapping[str, str]) -> list[Fault]:
    """Return what is wrong with receipts by themselves.

    What was not paid for a reason that the gateway gave is no fault: a result that comes too late earns nothing.

    Args:
        keys: the gateway's public keys by their ``kid``, all that were ever seen.
    """
    found = ((one, _receipt(one, keys)) for one in kept)
    return [Fault(kind, what, one.attempt_id) for one, fault in found if fault is not None for kind, what in (fault,)]


def statement(signed: Signed, month: str, keys: Mapping[str, str]) -> list[Fault]:
    """Return what is wrong with a statement by itself."""
    key = keys.get(signed.key_id)
    if signed.statement.month != month:
        return [Fault(Kind.STATEMENT, f"it is of {signed.statement.month[:20]}, not of {month}")]
    if key is None:
        return [Fault(Kind.STATEMENT, "it is signed with a key that the gateway does not publish")]
    if not identity.verify(key, signed.statement.document(), signed.signature):
        return [Fault(Kind.STATEMENT, "its signature is wrong")]
    if not signed.statement.size and signed.statement.root != merkle.EMPTY_ROOT.hex():
        return [Fault(Kind.STATEMENT, "it is of no receipts and has a root")]
    return []


def succession(seen: Signed, now: Signed, proof: Sequence[bytes]) -> list[Fault]:
    """Return why a statement cannot come after one of the same month that was seen before.

    Args:
        proof: the gateway's proof of consistency between the two sizes; none where they are equal.
    """
    before, after = seen.statement, now.statement
    if after.size < before.size:
        return [Fault(Kind.STATEMENT, f"it has {after.size} receipts; one of {before.size} was seen before")]
    if before.closed and (not after.closed or after.size != before.size):
        return [Fault(Kind.STATEMENT, "the month was closed before, and has been opened again")]
    roots = bytes.fromhex(before.root), bytes.fromhex(after.root)
    if not follows(before.size, roots[0], after.size, roots[1], proof):
        return [Fault(Kind.STATEMENT, f"the first {before.size} receipts are not those of the statement seen before")]
    if after.credited_ucr < before.credited_ucr or (
        after.size == before.size and after.credited_ucr != before.credited_ucr
    ):
        return [Fault(Kind.STATEMENT, "its credits are not those of the statement seen before")]
    return []


def inclusion(kept: Kept, now: Signed, proof: Proof | None) -> list[Fault]:
    """Return why a statement does not hold a receipt that was settled, in the place that the gateway has signed.

    Args:
        proof: the gateway's proof of inclusion; None where it gave none.
    """
    how = kept.settlement(digest(kept))
    if how is None:
        return []
    size, root = now.statement.size, bytes.fromhex(now.statement.root)
    if proof is not None and proof.index == how.index and includes(how.leaf, how.index, size, proof.hashes, root):
        return []
    return [
        Fault(Kind.MISSING, f"the statement of {size} receipts does not hold it as number {how.index}", kept.attempt_id)
    ]


def sums(kept: Iterable[Kept], now: Signed | None) -> list[Fault]:
    """Return whether this node's receipts alone come to more than the statement says of all."""
    own_ucr = sum(one.credited_ucr for one in kept if one.place is not None)
    all_ucr = 0 if now is None else now.statement.credited_ucr
    if own_ucr <= all_ucr:
        return []
    what = (
        f"it says that all nodes together got {format_credits(all_ucr)} credits; this one has {format_credits(own_ucr)}"
    )
    return [Fault(Kind.STATEMENT, what)]


def books(kept: Iterable[Kept], corrected_ucr: int, earned_ucr: int) -> list[Fault]:
    """Return whether the gateway's books credit this node with less than its receipts and the corrections come to."""
    own_ucr = sum(one.credited_ucr for one in kept if one.place is not None)
    if earned_ucr >= own_ucr + corrected_ucr:
        return []
    what = (
        f"they say {format_credits(earned_ucr)} credits; the receipts come to {format_credits(own_ucr)}, "
        f"the corrections to {format_credits(corrected_ucr)}"
    )
    return [Fault(Kind.BOOKS, what)]


def digest(kept: Kept) -> str:
    """Return the digest of a receipt, in hex, as the settlement has it."""
    return hashlib.sha256(kept.document.encode()).hexdigest()


def _receipt(kept: Kept, keys: Mapping[str, str]) -> tuple[Kind, str] | None:
    how = kept.settlement(digest(kept))
    if how is None and not kept.credited_ucr:
        return None if kept.unpaid else (Kind.UNPAID, "nothing was paid, and the gateway does not say why")
    if how is None:
        return Kind.DIFFERENT, "the gateway says that it paid, and has not signed it"
    if kept.credited_ucr != kept.price_ucr:
        paid, price = format_credits(kept.credited_ucr), format_credits(kept.price_ucr)
        return Kind.DIFFERENT, f"{paid} credits were paid for a price of {price}"
    key = keys.get(kept.key_id)
    if key is None:
        return Kind.DIFFERENT, f"it is signed with a key that the gateway has never published: {kept.key_id[:60]!r}"
    if not identity.verify(key, how.document(), kept.signature):
        return Kind.DIFFERENT, "the gateway's signature of what it paid is wrong"
    return None

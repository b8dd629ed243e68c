"""What node and gateway sign about a finished job, so that neither has to be believed afterwards.

The node signs a ``Receipt`` (what it did, and for which price); the gateway answers with a ``Settlement`` (what it paid
for that receipt, and its place in the month's tree) and signs that.  The settlement's bytes are the leaf of
the tree (``wire.merkle``), whose root the gateway publishes in a signed ``Statement`` of the month.

What is signed is a line that names the document's kind and version, and the document as JSON without spaces, its keys
sorted, in UTF-8.  There are only texts, whole numbers, lists and objects in it, so every JSON library writes the same
bytes.  Months are those of UTC, on the gateway's clock.  Pure.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

import attrs
import orjson
from attrs.validators import ge, matches_re

from edgeagent.wire.merkle import leaf_hash
from edgeagent.wire.messages import JobResult, JobResultAck, Output

_SHA256 = matches_re(r"[0-9a-f]{64}")
#: From the epoch's year to 2999: what ``datetime`` and a person can do something with.
_MONTH_TEXT = re.compile(r"(19[7-9][0-9]|2[0-9]{3})-(0[1-9]|1[0-2])")
_MONTH = matches_re(_MONTH_TEXT)
_NOT_NEGATIVE = ge(0)
#: Seconds beyond which a duration is not told apart (30 years): what a stranger claims must fit into 64 bits.
LONGEST_S = 1e9


@attrs.frozen(kw_only=True)
class Receipt:
    """What a node says it did.

    Durations are whole milliseconds, and files are in the order of their names' code points, so that there is one way
    to write it.
    """

    node_id: str
    job_id: str
    attempt_id: str
    job_type: str
    outcome: str  # of wire.messages.Outcome
    outputs: tuple[Output, ...] = ()
    wall_ms: int = attrs.field(default=0, validator=_NOT_NEGATIVE)
    cpu_ms: int = attrs.field(default=0, validator=_NOT_NEGATIVE)
    memory_peak_bytes: int = attrs.field(default=0, validator=_NOT_NEGATIVE)
    price_ucr: int = attrs.field(default=0, validator=_NOT_NEGATIVE)

    def document(self) -> bytes:
        """Return the bytes that the node signs."""
        outputs = [[one.name, one.size_bytes, one.sha256] for one in sorted(self.outputs, key=lambda one: one.name)]
        return _document("edgeagent.receipt/1", {**_fields(self), "outputs": outputs})

    @property
    def sha256(self) -> str:
        """The digest, in hex, of the bytes that the node signs."""
        return hashlib.sha256(self.document()).hexdigest()


@attrs.frozen(kw_only=True)
class Settlement:
    """What the gateway says it paid for a receipt; ``index`` is its place in the month, from 0."""

    receipt_sha256: str = attrs.field(validator=_SHA256)
    node_signature: str  # in hex; empty where the node cannot sign (docs/link.md, the other dialect)
    credited_ucr: int = attrs.field(validator=_NOT_NEGATIVE)
    month: str = attrs.field(validator=_MONTH)
    index: int = attrs.field(validator=_NOT_NEGATIVE)
    settled_at: int = attrs.field(validator=_NOT_NEGATIVE)  # whole seconds since the epoch, on the gateway's clock

    def document(self) -> bytes:
        """Return the bytes that the gateway signs, which are the month's leaf."""
        return _document("edgeagent.settlement/1", _fields(self))

    @property
    def leaf(self) -> bytes:
        """The hash of the leaf."""
        return leaf_hash(self.document())


@attrs.frozen(kw_only=True)
class Statement:
    """What the gateway publishes about a month: its tree so far, or all of it once the month is ``closed``."""

    month: str = attrs.field(validator=_MONTH)
    size: int = attrs.field(validator=_NOT_NEGATIVE)  # leaves
    root: str = attrs.field(validator=_SHA256)
    credited_ucr: int = attrs.field(validator=_NOT_NEGATIVE)  # of all leaves together
    issued_at: int = attrs.field(validator=_NOT_NEGATIVE)
    closed: bool = False

    def document(self) -> bytes:
        """Return the bytes that the gateway signs."""
        return _document("edgeagent.month/1", {**_fields(self), "closed": int(self.closed)})


def receipt(node_id: str, job_type: str, price_ucr: int, result: JobResult) -> Receipt:
    """Return the receipt for a result: both sides make it from what they hold, and get the same bytes."""
    return Receipt(
        node_id=node_id,
        job_id=result.job_id,
        attempt_id=result.attempt_id,
        job_type=job_type,
        outcome=result.outcome.value,
        outputs=result.outputs,
        wall_ms=_milliseconds(result.usage.wall_s),
        cpu_ms=_milliseconds(result.usage.cpu_s),
        memory_peak_bytes=result.usage.memory_peak_bytes,
        price_ucr=price_ucr,
    )


def settlement(of: Receipt, node_signature: str, ack: JobResultAck) -> Settlement | None:
    """Return what the gateway says in its acknowledgement that it paid; None where it says that it did not.

    Args:
        node_signature: what the result was signed with.

    Raises:
        ValueError: it says what cannot be, such as a month that is none.
    """
    if ack.settled is None:
        return None
    earlier = ack.settled.node_signature
    return Settlement(
        receipt_sha256=of.sha256,
        node_signature=node_signature if earlier is None else earlier,
        credited_ucr=ack.credited_ucr,
        month=ack.settled.month,
        index=ack.settled.index,
        settled_at=ack.settled.settled_at,
    )


def month_of(at: float) -> str:
    """Return the month, in UTC, of a moment given in seconds since the epoch."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m")


def month_bounds(month: str) -> tuple[float, float]:
    """Return a month's first moment and the next month's, in seconds since the epoch.

    Raises:
        ValueError: not a month like ``2026-10``.
    """
    if not _MONTH_TEXT.fullmatch(month):
        raise ValueError(f"{month[:20]!r} is not a month; write for example 2026-10")
    year, number = int(month[:4]), int(month[5:])
    after = (year + 1, 1) if number == 12 else (year, number + 1)
    return datetime(year, number, 1, tzinfo=UTC).timestamp(), datetime(*after, 1, tzinfo=UTC).timestamp()


def _milliseconds(seconds: float) -> int:
    return round(min(seconds, LONGEST_S) * 1000)


_NAMES = {cls: tuple(field.name for field in attrs.fields(cls)) for cls in (Receipt, Settlement, Statement)}


def _fields(value: Receipt | Settlement | Statement) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _NAMES[type(value)]}  # attrs.asdict takes ten times as long


def _document(kind: str, fields: dict[str, Any]) -> bytes:
    return kind.encode() + b"\n" + orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)

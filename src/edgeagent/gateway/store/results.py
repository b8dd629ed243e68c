"""What the store takes of a result: without its files, with too large a value or forged, it is a failed attempt."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent.gateway.store.flights import Told
from edgeagent.gateway.store.tables import outputs
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.texts import one_line
from edgeagent.wire.codec import converter
from edgeagent.wire.messages import Confinement, JobResult, Outcome, Output

#: Largest result value, in bytes of JSON.
MAX_VALUE_BYTES = 256 << 10
#: Largest report of how the attempt was confined that is kept, in bytes of JSON.
MAX_CONFINEMENT_BYTES = 16 << 10

_OUTPUTS = sa.select(outputs).where(outputs.c.attempt_id == sa.bindparam("attempt"))


#: What a node is told whose signature is not over the receipt that the gateway makes, or not by the node's key.
FORGED = "the result's signature is wrong: it is not by the node's present key, or is for another job, files or price"


def checked(tx: Tx, told: Told) -> JobResult:
    """A result with a wrong signature, without its files, or with too large a value is a failed attempt."""
    result = told.result
    if told.forged:
        return attrs.evolve(result, outcome=Outcome.SETUP_FAILED, detail=FORGED, value=None, signature="")
    missing = _missing(tx, result.attempt_id, result.outputs)
    if result.outcome is Outcome.COMPLETED and missing:
        detail = f"outputs missing: {', '.join(missing[:3])}"
        return attrs.evolve(result, outcome=Outcome.SETUP_FAILED, detail=detail, value=None)
    if len(as_json([result.value, result.result_ref]).encode()) > MAX_VALUE_BYTES:
        detail = f"the result's value is over {MAX_VALUE_BYTES >> 10} KiB of JSON; leave it as a file instead"
        return attrs.evolve(result, outcome=Outcome.FAILED, detail=detail, value=None, result_ref=None)
    return result


def confinement(result: JobResult) -> str:
    """Return what is kept of how the attempt was confined."""
    document = as_json(converter.unstructure(result.sandbox))
    if len(document) > MAX_CONFINEMENT_BYTES:
        cut = Confinement(tier=result.sandbox.tier[:20], not_enforced={"report": "too long to be kept"})
        return as_json(converter.unstructure(cut))
    return document


def _missing(tx: Tx, attempt_id: str, listed: Collection[Output]) -> list[str]:
    if not listed:
        return []
    rows = tx.connection.execute(_OUTPUTS, {"attempt": attempt_id})
    there = {(row.name, row.size_bytes, row.sha256) for row in rows}
    return [one_line(o.name, 100) for o in listed if (o.name, o.size_bytes, o.sha256) not in there]


def as_json(value: Any) -> str:
    """Return how a value is stored."""
    return orjson.dumps(value).decode()

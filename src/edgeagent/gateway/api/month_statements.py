"""REST for whoever checks what nodes were paid: the months' statements and proofs, and what was corrected later.

Nothing here needs a token but a node's corrections: a statement says how much all nodes together were credited, which
the leaderboard does too, and proofs are hashes.  What nobody can see in private nobody can be shown another version of.
"""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import FromPath, QueryParameter
from msgspec import Meta, Struct

from edgeagent.gateway import month_statements
from edgeagent.gateway.api.describe import NODE
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.guards import Node, TheHub, nodes_only
from edgeagent.gateway.month_statements import MAX_TOGETHER, Signed
from edgeagent.wire.receipts import month_bounds, month_of

_MONTH = "^[0-9]{4}-[0-9]{2}$"
_HASH = "^[0-9a-f]{64}$"
#: Leaves of the largest tree that is asked about; the database counts in 64 bits.
_MOST = (1 << 53) - 1


class MonthStatement(Struct):
    """A month's tree of settlements so far, or all of it once it is ``closed``, with the gateway's signature.

    What is signed is described in the gateway's manual; ``key_id`` names the key in ``/.well-known/jwks.json``.
    """

    month: str
    size: int
    root: str
    credited_ucr: int
    issued_at: int
    closed: bool
    signature: str
    key_id: str


class MonthStatements(Struct):
    """Every month in which something was settled, oldest first."""

    statements: list[MonthStatement]


class Inclusion(Struct):
    """The proof that ``leaf`` is number ``index`` of the tree: hashes in hex, from the leaf's sibling upwards."""

    leaf: str
    index: int
    proof: list[str]


class Inclusions(Struct):
    """Proofs that leaves are in the tree of the month's first ``size`` leaves (RFC 9162, section 2.1.3).

    A leaf that is not in it has none.
    """

    month: str
    size: int
    inclusions: list[Inclusion]


class Consistency(Struct):
    """The proof that a month's tree was only added to between two sizes (RFC 9162, section 2.1.4)."""

    month: str
    first: int
    second: int
    proof: list[str]


class Correction(Struct):
    """An entry in the books by which a node earned more or less than it was settled for."""

    entry: int
    kind: str
    reference: str
    amount_ucr: int
    at: float
    memo: str


class Corrections(Struct):
    """A node's corrections in a month, oldest first."""

    month: str
    corrections: list[Correction]


@get("/statements", tags=["statements"])
async def statements_of_all(hub: TheHub) -> MonthStatements:
    """Show the statements of all months."""
    found = await hub.store.read(month_statements.statements, hub.tokens.signer)
    return MonthStatements([_shown(one) for one in found])


@get("/statements/{month:str}", responses=problems(404), tags=["statements"])
async def statement_of(month: FromPath[str], hub: TheHub) -> MonthStatement:
    """Show the statement of a month, such as 2026-10."""
    found = await hub.store.read(month_statements.statement, month, hub.tokens.signer)
    if found is None:
        raise refuse(404, "nothing was settled in such a month")
    return _shown(found)


@get("/statements/{month:str}/inclusion", responses=problems(422), tags=["statements"])
async def inclusion_of(
    month: FromPath[str],
    hub: TheHub,
    leaf: Annotated[
        list[Annotated[str, Meta(pattern=_HASH)]],
        QueryParameter(min_items=1, max_items=MAX_TOGETHER, description="Hashes of leaves, in hex"),
    ],
    size: Annotated[int, QueryParameter(ge=1, le=_MOST, description="Of the statement that is proved against")],
) -> Inclusions:
    """Prove that the tree of a statement holds receipts."""
    leaves = [bytes.fromhex(one) for one in leaf]
    try:
        proofs = await hub.store.read(month_statements.inclusion, month, leaves, size)
    except ValueError as error:
        raise refuse(422, str(error)) from None
    made = [Inclusion(one.hex(), proof.index, [each.hex() for each in proof.hashes]) for one, proof in proofs.items()]
    return Inclusions(month, size, made)


@get("/statements/{month:str}/consistency", responses=problems(422), tags=["statements"])
async def consistency_of(
    month: FromPath[str],
    hub: TheHub,
    first: Annotated[int, QueryParameter(ge=1, le=_MOST, description="Of the earlier statement")],
    second: Annotated[int, QueryParameter(ge=1, le=_MOST, description="Of the later statement")],
) -> Consistency:
    """Prove that a later statement holds all that an earlier one did, unchanged."""
    try:
        proof = await hub.store.read(month_statements.consistency, month, first, second)
    except ValueError as error:
        raise refuse(422, str(error)) from None
    return Consistency(month, first, second, [one.hex() for one in proof])


@get("/nodes/me/corrections", guards=[nodes_only], security=[{NODE: []}], responses=problems(422), tags=["nodes"])
async def corrections_of(
    node: Node, hub: TheHub, month: Annotated[str | None, QueryParameter(pattern=_MONTH)] = None
) -> Corrections:
    """Show a node what changed its earnings of a month beside its settlements: refunds, and the owner's adjustments."""
    wanted = month_of(hub.store.clock()) if month is None else month
    try:
        month_bounds(wanted)
    except ValueError as error:
        raise refuse(422, str(error)) from None
    found = await hub.store.read(month_statements.corrections, node.node_id, wanted)
    return Corrections(
        wanted, [Correction(one.entry, one.kind, one.reference, one.amount_ucr, one.at, one.memo) for one in found]
    )


def _shown(signed: Signed) -> MonthStatement:
    one = signed.statement
    return MonthStatement(
        month=one.month,
        size=one.size,
        root=one.root,
        credited_ucr=one.credited_ucr,
        issued_at=one.issued_at,
        closed=one.closed,
        signature=signed.signature,
        key_id=signed.key_id,
    )

"""REST for a node that asks after itself: why it has no work, what it has earned, and what became of held results."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import QueryParameter

from edgeagent.gateway import standing
from edgeagent.gateway.api.describe import NODE
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.guards import Node, TheHub, nodes_only
from edgeagent.gateway.api.node_bodies import (
    EarnedSum,
    Given,
    NodeEarnings,
    NodeFailure,
    NodeStanding,
    NodeVerdict,
    NodeVerdicts,
    Seat,
    Waiting,
    WithoutWork,
)
from edgeagent.gateway.earnings import Earned, Sum, earnings
from edgeagent.gateway.ledger import node_account
from edgeagent.gateway.store import Tx, ledger, payout_addresses
from edgeagent.gateway.store import earnings as stored_earnings
from edgeagent.gateway.store import standing as stored_standing
from edgeagent.wire.payout_address import masked
from edgeagent.wire.receipts import month_bounds

#: Most attempts that one question is about.
MAX_VERDICTS = 100


@get("/nodes/me/standing", guards=[nodes_only], security=[{NODE: []}], tags=["nodes"])
async def standing_of(node: Node, hub: TheHub) -> NodeStanding:
    """Show a node why it gets work, or none."""
    network, health = hub.network, hub.network.registry[node.node_id]
    found = await hub.store.read(stored_standing.stored, node.node_id, health.failures)
    offer, seated = network.offer(node.node_id), network.seated(node.node_id)
    waiting = () if offer is None else standing.demand(network.backlog.needs(), offer)
    own, others = (0, 0) if offer is None else standing.recent(found, offer)
    closed = () if seated is None else seated.closed
    why = () if offer is None else standing.idle(waiting, closed, (own, others), stored_standing.LATELY_S)
    return NodeStanding(
        node_id=node.node_id,
        status=health.state.value,
        cause=found.cause,
        since_s=found.since_s,
        probation=health.probation,
        drained=hub.members.is_drained(node.node_id),
        failures=[msgspec.convert(one, NodeFailure, from_attributes=True) for one in found.failures],
        seat=None if seated is None else msgspec.convert(seated, Seat, from_attributes=True),
        waiting=[Waiting(one.job_type, one.lacks) for one in waiting],
        given=Given(stored_standing.LATELY_S, own, others),
        idle=[WithoutWork(one.code.value, one.text, one.job_type) for one in why],
    )


@get("/nodes/me/earnings", guards=[nodes_only], security=[{NODE: []}], responses=problems(422), tags=["nodes"])
async def earnings_of(
    node: Node, hub: TheHub, month: Annotated[str | None, QueryParameter(pattern="^[0-9]{4}-[0-9]{2}$")] = None
) -> NodeEarnings:
    """Show a node what it has earned; ``month``, such as 2026-10, is the present one where it is left out."""
    try:
        if month is not None:
            month_bounds(month)
    except ValueError as error:
        raise refuse(422, str(error)) from None
    rows, balance_ucr, paid_to = await hub.store.read(_earned, node.node_id)
    found = earnings(rows, month, hub.store.clock())
    return NodeEarnings(
        node_id=node.node_id,
        month=found.month,
        total=_sum(found.total),
        today=_sum(found.today),
        days=[_sum(one) for one in found.days],
        job_types=[_sum(one) for one in found.job_types],
        months=[_sum(one) for one in found.months],
        balance_ucr=balance_ucr,
        payout_address=None if paid_to is None else masked(paid_to[0]),
    )


@get("/nodes/me/verdicts", guards=[nodes_only], security=[{NODE: []}], tags=["nodes"])
async def verdicts_of(
    node: Node,
    hub: TheHub,
    attempt: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=100)]],
        QueryParameter(min_items=1, max_items=MAX_VERDICTS, description="Attempts whose results were held"),
    ],
) -> NodeVerdicts:
    """Show a node what became of results that were held, which it may not have heard."""
    found = await hub.verdicts(node.node_id, attempt)
    return NodeVerdicts([msgspec.convert(one, NodeVerdict, from_attributes=True) for one in found])


def _earned(tx: Tx, node_id: str) -> tuple[list[Earned], int, tuple[str, float] | None]:
    account = node_account(node_id)
    balance_ucr = ledger.balances(tx, [account]).get(account, 0)
    return stored_earnings.earned(tx, node_id), balance_ucr, payout_addresses.current(tx, node_id)


def _sum(one: Sum) -> EarnedSum:
    return EarnedSum(one.name, one.jobs, one.earned_ucr, one.paid_out_ucr)

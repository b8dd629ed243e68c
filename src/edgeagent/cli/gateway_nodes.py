"""``edgeagent gateway nodes``: the owner looks after the nodes, through the data directory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.gateway_join_tokens import join_token
from edgeagent.cli.groups import Group
from edgeagent.cli.options import OperatorLabel, as_json, print_json
from edgeagent.cli.place import at_gateway

if TYPE_CHECKING:
    from edgeagent.gateway.config import GatewaySettings
    from edgeagent.gateway.store.checks import Name
    from edgeagent.gateway.store.orders import Kind, Member

Json = dict[str, Any]
_STATES = ("REGISTERED", "HEALTHY", "UNHEALTHY", "OFFLINE", "PENDING", "REVOKED")
_reason = click.option("--reason", default="", help="Why; stored, and told to the node.")


@click.group(cls=Group)
def nodes() -> None:
    """Look after the nodes: see them, approve, revoke, drain.

    Works beside a running gateway, which acts on it at once, or without one.  NODE is an id or a
    name.
    """


@nodes.command(name="list")
@at_gateway
@click.option("--status", type=click.Choice(_STATES, case_sensitive=False), help="Only nodes in this state.")
@as_json
def list_(place: GatewaySettings, status: str | None, as_json: bool) -> None:
    """List the nodes, oldest first."""
    from edgeagent.gateway import ownership
    from edgeagent.wire.messages import NodeState

    found = ownership.list_nodes(place, NodeState(status.upper()) if status else None)
    if as_json:
        print_json("nodes/1", {"nodes": [_document(one) for one in found]})
        return
    for one in found:
        operator = f"  operator {one.operator}" if one.operator else ""
        drained = "  drained" if one.drained else ""
        click.echo(
            f"{one.node_id}  {one.state.value:<10}  {one.name}  ({', '.join(one.capabilities)}){operator}{drained}"
        )


@nodes.command()
@at_gateway
@click.argument("node")
@as_json
def show(place: GatewaySettings, node: str, as_json: bool) -> None:
    """Show a node, its key and its states so far."""
    from edgeagent.gateway import ownership
    from edgeagent.gateway.texts import one_line
    from edgeagent.wire.units import format_credits

    member, history = ownership.show(place, node)
    names = ownership.names(place, member.node_id)
    if as_json:
        past = [
            {"status": state, "cause": cause, "since": _time(since), "until": None if until is None else _time(until)}
            for state, cause, since, until in history
        ]
        stood_up = [{"job_type": one.job_type, **_reputation(one)} for one in names]
        print_json("node/1", {**_document(member), "results": stood_up, "history": past})
        return
    click.echo(f"Node:          {member.name}")
    click.echo(f"Id:            {member.node_id}")
    click.echo(f"Status:        {member.state.value} ({member.cause})" + (", drained" if member.drained else ""))
    if member.operator:
        click.echo(f"Operator:      {member.operator}")
    click.echo(f"Capabilities:  {', '.join(member.capabilities)}")
    click.echo(f"Completed:     {member.jobs_completed} jobs, {format_credits(member.balance_ucr)} credits")
    click.echo(f"Paid to:       {one_line(member.payout_address) or 'nowhere: it has set no address'}")
    for one in names:
        said = _reputation(one)
        share = "" if one.share is None else f", {one.share:.0%} checked"
        click.echo(
            f"Results:       {one.job_type}: {said['agreed']} agreed, {said['disputed']} disputed,"
            f" {said['streak']} in a row{share}"
        )
    for state, cause, since, _ in history[-10:]:
        click.echo(f"  {_time(since)}  {state:<10}  {cause}")


@nodes.command()
@at_gateway
@click.argument("node")
@as_json
def approve(place: GatewaySettings, node: str, as_json: bool) -> None:
    """Let a node in that waits for approval, or that was revoked.

    After a revocation the node gets a new token by proving its key: edgeagent run does so by itself.
    """
    from edgeagent.gateway.store.orders import Kind

    _order(place, Kind.APPROVE, node, "", as_json)


@nodes.command()
@at_gateway
@click.argument("node")
@_reason
@click.option("--tokens-only", is_flag=True, help="Refuse the tokens so far; the node may prove its key anew.")
@as_json
def revoke(place: GatewaySettings, node: str, reason: str, tokens_only: bool, as_json: bool) -> None:
    """Put a node out: its link is closed with 4001, its tokens are refused, its jobs go to other nodes."""
    from edgeagent.gateway.store.orders import Kind

    _order(place, Kind.VOID_TOKENS if tokens_only else Kind.REVOKE, node, reason, as_json)


@nodes.command()
@at_gateway
@click.argument("node")
@_reason
@click.option("--resume", is_flag=True, help="Give it work again.")
@as_json
def drain(place: GatewaySettings, node: str, reason: str, resume: bool, as_json: bool) -> None:
    """Give a node no new work, until --resume; what runs there goes on."""
    from edgeagent.gateway.store.orders import Kind

    _order(place, Kind.RESUME if resume else Kind.DRAIN, node, reason, as_json)


@nodes.command()
@at_gateway
@click.argument("node")
@click.argument("label", type=OperatorLabel(), default="")
@as_json
def operator(place: GatewaySettings, node: str, label: str, as_json: bool) -> None:
    """Say that NODE belongs to the operator LABEL; without one it stands for itself.

    Nodes with the same label never check each other's results; see: edgeagent gateway trust --help
    """
    from edgeagent.gateway.store.orders import Kind

    _order(place, Kind.OPERATOR, node, label, as_json)


nodes.add_command(join_token)


def _order(place: GatewaySettings, kind: Kind, node: str, reason: str, as_json: bool) -> None:
    from edgeagent.gateway import ownership

    member, changed = ownership.order(place, kind, node, reason)
    if as_json:
        print_json("node-order/1", {"order": kind.value, "changed": changed, "node": _document(member)})
    elif changed:
        click.echo(f"{member.name}: {kind.value}; {member.state.value}" + (", drained" if member.drained else ""))
    else:
        click.echo(f"{member.name}: nothing to change; {member.state.value}" + (", drained" if member.drained else ""))


def _reputation(name: Name) -> Json:
    counts = name.reputation
    return {
        "agreed": counts.agreed,
        "disputed": counts.disputed,
        "streak": counts.streak,
        "checked_share": name.share,
    }


def _document(member: Member) -> Json:
    return {
        "node_id": member.node_id,
        "name": member.name,
        "status": member.state.value,
        "cause": member.cause,
        "since": _time(member.since),
        "drained": member.drained,
        "operator": member.operator,
        "capabilities": list(member.capabilities),
        "jobs_completed": member.jobs_completed,
        "balance_ucr": member.balance_ucr,
        "registered_at": _time(member.created_at),
        "public_key": member.public_key,
        "metadata": member.metadata,
        "payout_address": member.payout_address or None,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

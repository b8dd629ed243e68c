"""``edgeagent gateway nodes``: the owner looks after the nodes, through the data directory."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import as_json, print_json
from edgeagent.cli.place import at_gateway

if TYPE_CHECKING:
    from edgeagent.gateway.config import GatewaySettings
    from edgeagent.gateway.store.checks import Name
    from edgeagent.gateway.store.orders import Kind, Member

Json = dict[str, Any]
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_STATES = ("REGISTERED", "HEALTHY", "UNHEALTHY", "OFFLINE", "PENDING", "REVOKED")
_reason = click.option("--reason", default="", help="Why; stored, and told to the node.")


class Duration(click.ParamType[float]):
    """A time span, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds that ``90s``, ``30m``, ``24h`` or ``7d`` stand for."""
        match = re.fullmatch(r"([0-9]{1,9})([smhd])", str(value))
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r} is not a duration; write for example 90s, 30m, 24h or 7d", param, ctx)
        return float(int(match[1]) * _UNITS_S[match[2]])


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
        drained = "  drained" if one.drained else ""
        click.echo(f"{one.node_id}  {one.state.value:<10}  {one.name}  ({', '.join(one.capabilities)}){drained}")


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
@click.argument("label", default="")
@as_json
def operator(place: GatewaySettings, node: str, label: str, as_json: bool) -> None:
    """Say that NODE belongs to the operator LABEL; without one it stands for itself.

    Nodes with the same label never check each other's results; see: edgeagent gateway trust --help
    """
    from edgeagent.gateway.store.orders import Kind
    from edgeagent.gateway.trust import check_label

    try:
        wanted = check_label(label) if label else ""
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    _order(place, Kind.OPERATOR, node, wanted, as_json)


@nodes.group(name="join-token")
def join_token() -> None:
    """Tokens that let a node register where the gateway runs with --registration token or approval."""


@join_token.command()
@at_gateway
@click.option("--uses", type=click.IntRange(min=1), help="For so many nodes.  [default: any number]")
@click.option("--expires", "life_s", type=Duration(), help="For so long: 90s, 30m, 24h, 7d.  [default: for ever]")
@as_json
def create(place: GatewaySettings, uses: int | None, life_s: float | None, as_json: bool) -> None:
    """Make a join token and print it, this once."""
    from edgeagent.gateway import ownership

    token = ownership.create_join_token(place, uses, life_s)
    if as_json:
        print_json("join-token/1", {"token": token, "uses": uses, "expires_in_s": life_s})
        return
    click.echo(token)
    click.echo("Keep it: it is stored hashed and not shown again.", err=True)


@join_token.command(name="list")
@at_gateway
@as_json
def list_tokens(place: GatewaySettings, as_json: bool) -> None:
    """List the join tokens by the start of their hash."""
    from edgeagent.gateway import ownership

    documents = [
        {
            "name": one.name,
            "uses_left": one.uses_left,
            "created_at": _time(one.created_at),
            "expires_at": None if one.expires_at is None else _time(one.expires_at),
        }
        for one in ownership.list_join_tokens(place)
    ]
    if as_json:
        print_json("join-tokens/1", {"tokens": documents})
        return
    for one in documents:
        uses = "any number of" if one["uses_left"] is None else one["uses_left"]
        click.echo(f"{one['name']}  {uses} uses left  until {one['expires_at'] or 'revoked'}")


@join_token.command(name="revoke")
@at_gateway
@click.argument("name")
@as_json
def revoke_token(place: GatewaySettings, name: str, as_json: bool) -> None:
    """Make a join token void; NAME is what the list calls it."""
    from edgeagent.gateway import ownership

    ownership.revoke_join_token(place, name)
    if as_json:
        print_json("join-token-revoked/1", {"name": name})


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

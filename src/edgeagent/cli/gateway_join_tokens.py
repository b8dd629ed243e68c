"""``edgeagent gateway nodes join-token``: what lets a node register where not everybody may."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import OperatorLabel, as_json, print_json
from edgeagent.cli.place import at_gateway

if TYPE_CHECKING:
    from edgeagent.gateway.config import GatewaySettings

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[float]):
    """A time span, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds that ``90s``, ``30m``, ``24h`` or ``7d`` stand for."""
        match = re.fullmatch(r"([0-9]{1,9})([smhd])", str(value))
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r} is not a duration; write for example 90s, 30m, 24h or 7d", param, ctx)
        return float(int(match[1]) * _UNITS_S[match[2]])


@click.group(name="join-token", cls=Group)
def join_token() -> None:
    """Tokens that let a node register where the gateway runs with --registration token or approval."""


@join_token.command()
@at_gateway
@click.option("--uses", type=click.IntRange(min=1), help="For so many nodes.  [default: any number]")
@click.option("--expires", "life_s", type=Duration(), help="For so long: 90s, 30m, 24h, 7d.  [default: for ever]")
@click.option(
    "--operator",
    type=OperatorLabel(),
    default="",
    metavar="LABEL",
    help="Whom you give it to: nodes that register with it belong together and never check each other's results.",
)
@as_json
def create(place: GatewaySettings, uses: int | None, life_s: float | None, operator: str, as_json: bool) -> None:
    """Make a join token and print it, this once.

    edgeagent gateway nodes operator changes later to whom a node belongs.
    """
    from edgeagent.gateway import ownership

    token = ownership.create_join_token(place, uses, life_s, operator)
    if as_json:
        print_json("join-token/1", {"token": token, "uses": uses, "expires_in_s": life_s, "operator": operator})
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
            "operator": one.operator,
        }
        for one in ownership.list_join_tokens(place)
    ]
    if as_json:
        print_json("join-tokens/1", {"tokens": documents})
        return
    for one in documents:
        uses = "any number of" if one["uses_left"] is None else one["uses_left"]
        whose = f"  operator {one['operator']}" if one["operator"] else ""
        click.echo(f"{one['name']}  {uses} uses left  until {one['expires_at'] or 'revoked'}{whose}")


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


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

"""``edgeagent gateway token`` and ``edgeagent gateway audit``: who may submit, and who did what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import as_json, print_json
from edgeagent.cli.place import at_gateway

if TYPE_CHECKING:
    from edgeagent.gateway.config import GatewaySettings


@click.group(cls=Group)
def token() -> None:
    """Tokens of submitters."""


@token.command()
@at_gateway
@click.option("--name", required=True, help="The account; made when there is none of that name.")
@click.option("--credits", "grant", default="0", show_default=True, help="Credits to grant the account.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["read", "submit", "admin"]),
    multiple=True,
    default=("read", "submit"),
    show_default=True,
    help="What the token may be used for; may be given more than once.",
)
@as_json
def create(place: GatewaySettings, name: str, grant: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Make a submitter's token and print it, this once.

    read shows the account's jobs, results and balance; submit submits, cancels and queues again; admin is for what
    concerns the whole gateway.  None includes another.
    """
    from edgeagent.gateway.accounts import create_token
    from edgeagent.gateway.auth import token_sha256
    from edgeagent.gateway.scopes import Scope
    from edgeagent.gateway.store.accounts import token_name
    from edgeagent.wire.units import credits_to_ucr

    try:
        grant_ucr = credits_to_ucr(grant)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--credits") from None
    if grant_ucr < 0:
        raise click.BadParameter("a grant cannot be negative", param_hint="--credits")
    allowed = frozenset(Scope(one) for one in scopes)
    plain = create_token(place.data_dir, name, grant_ucr, database=place.postgres, scopes=allowed)
    if as_json:
        called = token_name(token_sha256(plain))
        told = {"name": called, "account": name, "token": plain, "granted_ucr": grant_ucr, "scopes": sorted(allowed)}
        print_json("token/1", told)
        return
    click.echo(plain)
    click.echo("Keep it: it is stored hashed and not shown again.", err=True)


@token.command(name="list")
@at_gateway
@click.option("--name", "account", help="Only tokens of this account.")
@as_json
def list_(place: GatewaySettings, account: str | None, as_json: bool) -> None:
    """List the tokens by the start of their hash, oldest first."""
    from edgeagent.gateway.accounts import list_tokens

    documents = [
        {
            "name": one.name,
            "account": one.account,
            "scopes": sorted(one.scopes),
            "created_at": _time(one.created_at),
            "revoked_at": None if one.revoked_at is None else _time(one.revoked_at),
        }
        for one in list_tokens(place, account)
    ]
    if as_json:
        print_json("tokens/1", {"tokens": documents})
        return
    for one in documents:
        revoked = f"  revoked {one['revoked_at']}" if one["revoked_at"] else ""
        click.echo(f"{one['name']}  {one['created_at']}  {one['account']}  ({', '.join(one['scopes'] or ())}){revoked}")


@token.command()
@at_gateway
@click.argument("name")
@as_json
def revoke(place: GatewaySettings, name: str, as_json: bool) -> None:
    """Make a token void, at once and for good; NAME is what the list calls it."""
    from edgeagent.gateway.accounts import revoke_token

    changed = revoke_token(place, name)
    if as_json:
        print_json("token-revoked/1", {"name": name, "changed": changed})
    else:
        click.echo(f"{name}: revoked" if changed else f"{name}: nothing to change; it was revoked before")


@click.command()
@at_gateway
@click.option("--last", type=click.IntRange(1, 100_000), default=100, show_default=True, help="So many entries.")
@as_json
def audit(place: GatewaySettings, last: int, as_json: bool) -> None:
    """Show who did what to tokens, nodes, jobs and credits, oldest first."""
    from edgeagent.gateway.accounts import read_audit

    entries = read_audit(place, last)
    if as_json:
        documents = [
            {
                "seq": one.seq,
                "at": _time(one.at),
                "actor": one.actor,
                "action": one.action,
                "subject": one.subject,
                "detail": one.detail,
            }
            for one in entries
        ]
        print_json("audit/1", {"entries": documents})
        return
    for one in entries:
        click.echo("  ".join([_time(one.at), one.actor, one.action, one.subject, one.detail]).rstrip())


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

"""``edgeagent profile``: how the node on this machine appears on the leaderboard."""

from __future__ import annotations

import os

import click

from edgeagent.cli.options import as_json, print_json


@click.command()
@click.option("--name", metavar="NAME", help="Call the node this from now on, everywhere.")
@click.option("--listed/--unlisted", default=None, help="Appear on the leaderboard, or no longer.")
@as_json
def profile(name: str | None, listed: bool | None, as_json: bool) -> None:
    """Show how the node appears on the gateway's public leaderboard, and change that.

    An unlisted node has no line and no page there; the network's totals count its work all the same.
    """
    from edgeagent.node import config
    from edgeagent.node.profile import appearance

    given = {"name": name, "visibility": None if listed is None else "listed" if listed else "unlisted"}
    changes = {key: value for key, value in given.items() if value is not None}
    shown = appearance(config.default_home(os.environ), os.environ, **changes)
    if as_json:
        print_json("profile/1", shown)
        return
    click.echo(f"name  {shown['name']}")
    if shown["visibility"] != "listed":
        click.echo("unlisted: the leaderboard does not show this node")
    elif shown["rank"] is None:
        click.echo("listed, without a rank yet")
    else:
        click.echo(f"rank  {shown['rank']}")
        click.echo(f"page  {shown['page']}")

"""``edgeagent register`` and ``edgeagent run``: the operator's two commands."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from edgeagent.cli.options import GatewayParam, as_json, print_json

if TYPE_CHECKING:
    from edgeagent.wire.urls import GatewayUrl


@click.command()
@click.option("--gateway-url", "gateway", type=GatewayParam(), required=True, help="For example https://host.")
@click.option("--name", required=True, help="What the leaderboard calls this node.")
@click.option(
    "--capabilities",
    default="",
    help="Job types to offer beside echo and cpu_benchmark, separated by commas.  [default: all that can run here]",
)
@click.option("--force", is_flag=True, help="Replace the keys and configuration that are there.")
@as_json
def register(gateway: GatewayUrl, name: str, capabilities: str, force: bool, as_json: bool) -> None:
    """Register this machine with a gateway.

    Makes an Ed25519 key pair and keeps it with the configuration in ~/.edgeagent, or in EDGEAGENT_HOME.  With --force
    and the old key still there, the node keeps its id and earnings.  Nothing of an old identity is touched before the
    gateway has accepted the new one.
    """
    import trio

    from edgeagent.node import config, enrol

    home = config.default_home(os.environ)
    wanted = tuple(dict.fromkeys(one.strip() for one in capabilities.split(",") if one.strip()))

    async def call() -> enrol.Registered:
        return await enrol.register(home, gateway, name, wanted, force=force)

    node = trio.run(call)
    if as_json:
        document = {"node_id": node.node_id, "name": node.name, "status": node.status, "token": node.token}
        print_json("registration/1", {**document, "gateway_url": str(gateway), "home": str(home)})
        return
    click.echo(f"Registered {node.name} with {gateway}.")
    click.echo(f"Node id:  {node.node_id}")
    click.echo(f"Token:    {node.token}")
    click.echo(f"Saved in: {home}")
    click.echo("Start the node with: edgeagent run", err=True)


@click.command()
def run() -> None:
    """Run the node agent until SIGTERM.

    Takes its identity from ~/.edgeagent (or EDGEAGENT_HOME), or from the environment alone: GATEWAY_URL, NODE_JWT, and
    if wished NODE_ID, LOG_LEVEL and HEALTH_PORT.  The first SIGTERM or Ctrl-C lets running jobs finish, a second one
    stops at once.  EDGEAGENT_ALLOW_TIER_C=1 runs jobs on a host without namespaces, too, where they are confined less.
    """
    from edgeagent import logs
    from edgeagent.node import config, service

    logs.configure(logs.check_level(os.environ.get("LOG_LEVEL") or "INFO"))
    home = config.default_home(os.environ)
    allowed = config.tier_c_allowed(os.environ)
    sys.exit(service.main(lambda: config.load(home, os.environ), home / "plugins", allow_tier_c=allowed))

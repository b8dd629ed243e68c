"""``edgeagent register`` and ``edgeagent run``: the operator's two commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeagent.cli.flags import of_node
from edgeagent.cli.groups import Group
from edgeagent.cli.options import GatewayParam, as_json, print_json
from edgeagent.errors import EdgeAgentError, RefusedError, UsageError

if TYPE_CHECKING:
    import logging

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
@click.option(
    "--join-token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="EDGEAGENT_JOIN_TOKEN_FILE",
    help="File with the gateway's join token, instead of EDGEAGENT_JOIN_TOKEN.  [env: EDGEAGENT_JOIN_TOKEN_FILE]",
)
@as_json
def register(
    gateway: GatewayUrl, name: str, capabilities: str, force: bool, join_token_file: Path | None, as_json: bool
) -> None:
    """Register this machine with a gateway.

    Makes an Ed25519 key pair and keeps it with the configuration in ~/.edgeagent, or in EDGEAGENT_HOME.  With --force
    and the old key still there, the node keeps its id and earnings.  Nothing of an old identity is touched before the
    gateway has accepted the new one.

    A gateway that wants a join token gets it from EDGEAGENT_JOIN_TOKEN or a file, never from the command line, where
    other users could read it.
    """
    import trio

    from edgeagent.node import config, enrol

    home = config.default_home(os.environ)
    wanted = tuple(dict.fromkeys(one.strip() for one in capabilities.split(",") if one.strip()))

    join_token = _join_token(join_token_file)

    async def call() -> enrol.Registered:
        return await enrol.register(home, gateway, name, wanted, force=force, join_token=join_token)

    node = trio.run(call)
    if as_json:
        document = {"node_id": node.node_id, "name": node.name, "status": node.status, "token": node.token}
        print_json("registration/1", {**document, "gateway_url": str(gateway), "home": str(home)})
        return
    click.echo(f"Registered {node.name} with {gateway}.")
    click.echo(f"Node id:  {node.node_id}")
    click.echo(f"Token:    {node.token}")
    click.echo(f"Saved in: {home}")
    if node.status == "PENDING":
        click.echo("The gateway's owner has to approve the node before it gets work.", err=True)
    click.echo("Start the node with: edgeagent run", err=True)


def _join_token(file: Path | None) -> str | None:
    token = file.read_text(errors="replace").strip() if file else os.environ.get("EDGEAGENT_JOIN_TOKEN", "").strip()
    if not token.isascii() or not token.isprintable():
        raise UsageError("the join token holds characters that no token has; was the right file named?")
    return token or None


@click.command()
@of_node
def run(flags: dict[str, str]) -> None:
    """Run the node agent until SIGTERM.

    Takes its identity from ~/.edgeagent (or EDGEAGENT_HOME), or from the environment alone: GATEWAY_URL and NODE_JWT.
    The first SIGTERM or Ctrl-C lets running jobs finish, a second one stops at once.  SIGHUP lets them finish, too, and
    starts anew with the options as they are by then.

    Every option can also be set by a variable, or for good in config.toml (edgeagent config set); a flag wins over
    the variable, and that over the file.
    """
    if sys.platform != "linux":
        raise UsageError(
            "jobs run in a sandbox of the Linux kernel's, which this system has not: run the node in Docker here "
            "(Docker Desktop has a Linux inside); see docs/sandbox-hosts.md, A node in a container"
        )
    from edgeagent import logs
    from edgeagent.node import config, machine, proving, service, signals
    from edgeagent.node.fetch import s3
    from edgeagent.node.options.resolve import load
    from edgeagent.node.systemd import unit

    home = config.default_home(os.environ)
    settings = load(home, os.environ, flags)
    journal = _journal(home)
    logs.configure(settings.log.level, kept=journal)

    def identify() -> config.Identity:
        proving.settle(home)
        return config.load(home, os.environ, flags)

    def check() -> None:
        wanted = load(home, os.environ, flags)
        machine.cores(wanted.share.cores)
        s3.read_keys(wanted.fetch.s3_keys)

    try:
        code = service.main(settings, home, identify, check)
    except RefusedError as refused:
        signals.linger(settings.shutdown.refused_s, str(refused))
        raise
    finally:
        if journal is not None:
            journal.close()
    if code is None and os.environ.get("NOTIFY_SOCKET"):  # by systemd, which lends a new process what it may need
        sys.exit(unit.RESTART)
    if code is None:  # a reload: the same process, so that whoever supervises it sees no end
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (ourselves)
    sys.exit(code)


def _journal(home: Path) -> logging.Handler | None:
    from edgeagent.node import files
    from edgeagent.node.journal import Journal

    try:
        files.ensure_directory(home)
        return Journal(home)
    except (OSError, EdgeAgentError) as error:
        click.echo(f"No log is kept for `edgeagent logs`: {error}", err=True)
        return None


@click.group(cls=Group)
def keys() -> None:
    """The key that this machine's node is known by."""


@keys.command()
@as_json
def show(as_json: bool) -> None:
    """Show the node's public key and whose it is."""
    from edgeagent.node import config, files
    from edgeagent.wire import identity

    home = config.default_home(os.environ)
    stored = files.read_config(home)
    try:
        public_pem = identity.public_key_of((home / files.PRIVATE_KEY).read_bytes())
    except (OSError, identity.InvalidKeyError):
        raise EdgeAgentError(f"there is no usable key in {home}; run: edgeagent register") from None
    document = {
        "node_id": (stored or {}).get("node_id"),
        "gateway_url": (stored or {}).get("gateway_url"),
        "fingerprint": identity.key_id(public_pem),
        "public_key": public_pem,
    }
    if as_json:
        print_json("node-key/1", document)
        return
    click.echo(f"Node id:      {document['node_id']}")
    click.echo(f"Gateway:      {document['gateway_url']}")
    click.echo(f"Fingerprint:  {document['fingerprint']}")
    click.echo(public_pem, nl=False)


@keys.command()
@as_json
def rotate(as_json: bool) -> None:
    """Give the node a new key, for which the old one signs.

    The node keeps its id, name and earnings.  The old key and its tokens are void at once; a node that is running goes
    on with the new one by itself.
    """
    import trio

    from edgeagent.node import config, files, proving
    from edgeagent.wire import identity

    home = config.default_home(os.environ)
    node_id = trio.run(proving.rotate, home)
    fingerprint = identity.key_id(identity.public_key_of((home / files.PRIVATE_KEY).read_bytes()))
    if as_json:
        print_json("key-rotation/1", {"node_id": node_id, "fingerprint": fingerprint})
        return
    click.echo(f"Node {node_id} has a new key: {fingerprint}")

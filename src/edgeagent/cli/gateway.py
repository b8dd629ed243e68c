"""``edgeagent gateway``: the network owner's commands."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.gateway_jobs import jobs
from edgeagent.cli.gateway_ledger import ledger, prices
from edgeagent.cli.gateway_nodes import nodes
from edgeagent.cli.gateway_payouts import payout_minimum, payouts
from edgeagent.cli.gateway_tokens import audit, token
from edgeagent.cli.gateway_trust import trust
from edgeagent.cli.groups import Group
from edgeagent.cli.options import DurationParam, SizeParam, as_json, print_json
from edgeagent.cli.place import at_gateway, database_of, of_gateway
from edgeagent.errors import EdgeAgentError, UsageError

if TYPE_CHECKING:
    from sqlalchemy import URL

    from edgeagent.gateway.config import GatewaySettings
    from edgeagent.gateway.proxies import Network


class NetworkParam(click.ParamType["Network"]):
    """An IP network; an address is one of its own."""

    name = "cidr"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        """Return the network, or fail with a line that shows how to write one."""
        import ipaddress

        try:
            return ipaddress.ip_network(value)
        except ValueError as error:
            self.fail(f"{error}; write for example 10.0.0.5, 10.0.0.0/8 or fd00::/8", param, ctx)


_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(cls=Group)
def gateway() -> None:
    """Run a gateway and look after it."""
    if find_spec("litestar") is None:  # stands for the whole extra; importing it would cost half of a short command
        raise UsageError("the gateway is not installed; run: pip install 'edgeagent[gateway]'")


@gateway.command()
@of_gateway
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option(
    "--heartbeat",
    "heartbeat_s",
    type=click.FloatRange(0.1, 30),
    default=15.0,
    show_default=True,
    help="Seconds between a node's heartbeats; a job's lease is four of them.",
)
@click.option(
    "--registration",
    type=click.Choice(["open", "token", "approval"]),
    envvar="EDGEAGENT_REGISTRATION",
    default="open",
    show_default=True,
    help="Who may register a node: anybody, who has a join token, or anybody, to be approved before it gets work."
    "  [env: EDGEAGENT_REGISTRATION]",
)
@click.option("--tls-cert", "tls_cert", type=_FILE, help="Serve https with this certificate and its chain, in PEM.")
@click.option("--tls-key", "tls_key", type=_FILE, help="The certificate's key, in PEM, without a password.")
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    type=NetworkParam(),
    multiple=True,
    help="Address or network of a proxy in front, whose X-Forwarded-For says who a client is; may be given more than "
    "once.  [default: nobody is believed]",
)
@click.option(
    "--limit",
    "limits",
    metavar="NAME=NUMBER",
    multiple=True,
    help="Set how much anybody may ask, for example connections-each=5000; may be given more than once.  "
    "docs/gateway.md lists the names.",
)
@click.option(
    "--quota",
    "quota_bytes",
    type=SizeParam(),
    default="10G",
    show_default=True,
    help="What the files of one account may take together, for example 50G.",
)
@click.option(
    "--keep-outputs",
    "keep_outputs_s",
    type=DurationParam(),
    default="30d",
    show_default=True,
    help="How long the files of a completed job are kept, for example 12h or 90d.",
)
@click.option(
    "--monthly-payouts",
    "payout_rail",
    metavar="RAIL",
    envvar="EDGEAGENT_MONTHLY_PAYOUTS",
    help="Pay each month by this rail, for example manual, as soon as it is over, and those that were missed.  "
    "[env: EDGEAGENT_MONTHLY_PAYOUTS; default: payouts are run by hand]",
)
@payout_minimum()
@click.option("--log-level", envvar="LOG_LEVEL", default="INFO", show_default=True, help="DEBUG, INFO, WARNING, ERROR.")
def run(
    data_dir: Path,
    database: URL | None,
    database_file: URL | None,
    host: str,
    port: int,
    heartbeat_s: float,
    registration: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    trusted_proxies: tuple[Network, ...],
    limits: tuple[str, ...],
    quota_bytes: int,
    keep_outputs_s: float,
    payout_rail: str | None,
    minimum_ucr: int,
    log_level: str,
) -> None:
    """Run the gateway until SIGTERM.

    Prints its address on stdout as soon as it is ready.  Node links are told to come back when it stops; jobs are kept.
    """
    import trio

    from edgeagent import logs
    from edgeagent.cli.signals import run_until_signalled
    from edgeagent.gateway import ceilings, service
    from edgeagent.gateway.config import GatewaySettings, MonthlyPayouts, Registration

    logs.configure(logs.check_level(log_level))
    if (tls_cert is None) is not (tls_key is None):
        raise UsageError("TLS needs both files: --tls-cert and --tls-key")
    try:
        allowed = ceilings.parse(limits)
    except ValueError as error:
        raise UsageError(f"--limit: {error}") from None
    if keep_outputs_s <= 0:
        raise UsageError("--keep-outputs: a completed job's files must be kept for some time, for example 1h")
    settings = GatewaySettings(
        data_dir=data_dir,
        postgres=database_of(database, database_file),
        host=host,
        port=port,
        heartbeat_s=heartbeat_s,
        lease_s=4 * heartbeat_s,
        registration=Registration(registration),
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
        trusted_proxies=trusted_proxies,
        ceilings=allowed,
        quota_bytes=quota_bytes,
        keep_outputs_s=keep_outputs_s,
        monthly_payouts=MonthlyPayouts(rail=payout_rail, minimum_ucr=minimum_ucr) if payout_rail else None,
    )

    if payout_rail:
        from edgeagent.gateway import payroll

        payroll.make_rail(settings, payout_rail)  # one that is not there is said now, not on the first of the month

    async def serve(stop: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            url = await nursery.start(lambda task_status: service.run(settings, stop=stop, task_status=task_status))
            click.echo(url)

    trio.run(run_until_signalled, serve)


@gateway.command()
@at_gateway
@click.argument("destination", type=click.Path(path_type=Path))
@as_json
def backup(place: GatewaySettings, destination: Path, as_json: bool) -> None:
    """Copy database, keys and files into the new directory DESTINATION, also while the gateway runs.

    To go on from a copy, run a gateway with it: edgeagent gateway run --data DESTINATION
    """
    import attrs

    from edgeagent.gateway.backup import back_up
    from edgeagent.wire.units import format_size

    copied = back_up(place, destination)
    if as_json:
        print_json("backup/1", {"destination": str(destination), **attrs.asdict(copied)})
    else:
        files = f"{copied.files} files of {format_size(copied.file_bytes)} ({copied.linked} linked)"
        click.echo(f"{destination}: database of {format_size(copied.database_bytes)}, keys, {files}")
    if copied.missing:
        raise EdgeAgentError(f"{len(copied.missing)} of the jobs' files are missing; one is {copied.missing[0]}")


gateway.add_command(token)
gateway.add_command(audit)
gateway.add_command(nodes)
gateway.add_command(jobs)
gateway.add_command(ledger)
gateway.add_command(prices)
gateway.add_command(payouts)
gateway.add_command(trust)


@gateway.group()
def keys() -> None:
    """The keys that sign nodes' tokens."""


@keys.command()
@at_gateway
@click.option("--drop-old", is_flag=True, help="Refuse all tokens so far: the old key is in somebody else's hands.")
@as_json
def rotate(place: GatewaySettings, drop_old: bool, as_json: bool) -> None:
    """Sign with a new key from now on.

    The old one still checks the tokens that it signed, until they have ended.  With --drop-old it does not: every link
    is closed, and nodes get a token by proving their own keys, which edgeagent run does by itself.  Works beside a
    running gateway or without one.
    """
    from edgeagent.gateway import ownership

    key_id = ownership.rotate_keys(place, drop=drop_old)
    if as_json:
        print_json("gateway-key/1", {"kid": key_id, "dropped_old": drop_old})
        return
    click.echo(f"New signing key: {key_id}")

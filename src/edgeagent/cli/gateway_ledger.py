"""``edgeagent gateway ledger`` and ``edgeagent gateway prices``: the owner keeps the books."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import as_json, print_json
from edgeagent.cli.place import at_gateway
from edgeagent.errors import EdgeAgentError

if TYPE_CHECKING:
    from edgeagent.gateway.config import GatewaySettings


class CreditsParam(click.ParamType[int]):
    """A number of credits, as micro-credits."""

    name = "credits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the micro-credits, or fail with a line that shows how to write credits."""
        from edgeagent.wire.units import credits_to_ucr

        if isinstance(value, int):
            return value
        try:
            return credits_to_ucr(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_CREDITS = CreditsParam()
_reference = click.option(
    "--reference",
    required=True,
    metavar="TEXT",
    help="What this stands for, like an invoice's number; the same again posts nothing.",
)
_memo = click.option("--memo", default="", metavar="TEXT", help="Why; kept in the books.")


@click.group(cls=Group)
def ledger() -> None:
    """Look into the books, check them, hand them out, correct them.

    Works beside a running gateway or without one.
    """


@ledger.command()
@at_gateway
@as_json
def verify(place: GatewaySettings, as_json: bool) -> None:
    """Check every entry, balance and job; exit 1 where something is wrong.

    The chain of hashes, each entry against the job that it is for, balances against postings, jobs against entries,
    and the leaderboard's totals.  Note the last hash: if it is not in the chain later, the past was rewritten.
    """
    from edgeagent.gateway import bookkeeping

    verdict = bookkeeping.verify(place)
    if as_json:
        wrong = [{"entry": one.seq, "what": one.what} for one in verdict.wrong]
        counts = {"entries": verdict.entries, "accounts": verdict.accounts, "jobs": verdict.jobs}
        print_json("ledger-verdict/1", {"good": not wrong, **counts, "last_hash": verdict.tip, "wrong": wrong})
    else:
        click.echo(f"{verdict.entries} entries, {verdict.accounts} accounts, {verdict.jobs} jobs")
        click.echo(f"last hash {verdict.tip}")
        for one in verdict.wrong:
            click.echo(f"entry {one.seq}: {one.what}" if one.seq is not None else one.what)
    if verdict.wrong:
        raise EdgeAgentError("the books are wrong; restore a backup, or find out who wrote to the database")


@ledger.command()
@at_gateway
@click.option("--format", "kind", type=click.Choice(["csv", "json", "hledger"]), default="csv", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file, not to stdout.")
def export(place: GatewaySettings, kind: str, output: Path | None) -> None:
    """Print every entry: as CSV, JSON, or a journal for hledger that asserts every balance."""
    from edgeagent.gateway import bookkeeping

    if output is None:
        bookkeeping.export(place, kind, sys.stdout)
        return
    try:
        with output.open("x", encoding="utf-8", newline="") as file:
            bookkeeping.export(place, kind, file)
    except FileExistsError:
        raise EdgeAgentError(f"{output} exists; name another file") from None
    except OSError as error:
        raise EdgeAgentError(f"cannot write {output}: {error.strerror}") from None


@ledger.command()
@at_gateway
@as_json
def balances(place: GatewaySettings, as_json: bool) -> None:
    """Show every account in the books."""
    from edgeagent.gateway import bookkeeping
    from edgeagent.wire.units import format_credits

    found = bookkeeping.balances(place)
    if as_json:
        rows = [{"account": one.account, "name": one.name, "balance_ucr": one.balance_ucr} for one in found]
        print_json("ledger-balances/1", {"accounts": rows})
        return
    for one in found:
        click.echo(f"{format_credits(one.balance_ucr):>16}  {one.account}{'  ' + one.name if one.name else ''}")


@ledger.command()
@at_gateway
@click.argument("account")
@click.argument("amount_ucr", type=_CREDITS, metavar="CREDITS")
@_reference
@_memo
@as_json
def grant(place: GatewaySettings, account: str, amount_ucr: int, reference: str, memo: str, as_json: bool) -> None:
    """Give the submitter ACCOUNT credits, once for each reference."""
    from edgeagent.gateway import bookkeeping

    if amount_ucr <= 0:
        raise click.BadParameter("grant more than nothing; to take away, use: edgeagent gateway ledger adjust")
    _said("granted", bookkeeping.grant(place, account, amount_ucr, reference, memo), reference, as_json)


@ledger.command(context_settings={"ignore_unknown_options": True})  # a negative number is no option
@at_gateway
@click.argument("account")
@click.argument("amount_ucr", type=_CREDITS, metavar="CREDITS")
@_reference
@click.option("--memo", required=True, metavar="TEXT", help="Why; kept in the books.")
@as_json
def adjust(place: GatewaySettings, account: str, amount_ucr: int, reference: str, memo: str, as_json: bool) -> None:
    """Correct submitter:NAME or node:NAME by CREDITS, up or (negative) down, once for each reference."""
    from edgeagent.gateway import bookkeeping

    _said("adjusted", bookkeeping.adjust(place, account, amount_ucr, reference, memo), reference, as_json)


@ledger.command()
@at_gateway
@click.argument("job_id", metavar="JOB")
@click.option("--from-node", is_flag=True, help="The node that earned it pays; without it the network does.")
@_memo
@as_json
def refund(place: GatewaySettings, job_id: str, from_node: bool, memo: str, as_json: bool) -> None:
    """Give a COMPLETED job's price back to its submitter, once."""
    from edgeagent.gateway import bookkeeping

    _said("refunded", bookkeeping.refund(place, job_id, memo, from_node=from_node), job_id, as_json)


@click.group(cls=Group)
def prices() -> None:
    """What job types cost.  A job's price is frozen when it is submitted."""


@prices.command(name="list")
@at_gateway
@as_json
def list_(place: GatewaySettings, as_json: bool) -> None:
    """Show what each job type costs now; * stands for all others."""
    from edgeagent.gateway import bookkeeping
    from edgeagent.wire.units import format_credits

    found = bookkeeping.price_list(place)
    if as_json:
        print_json("prices/1", {"prices_ucr": found})
        return
    for job_type, ucr in found.items():
        click.echo(f"{format_credits(ucr):>12}  {job_type}")


@prices.command(name="set", context_settings={"ignore_unknown_options": True})  # a negative number is no option
@at_gateway
@click.argument("job_type")
@click.argument("price_ucr", type=_CREDITS, metavar="CREDITS")
@as_json
def set_(place: GatewaySettings, job_type: str, price_ucr: int, as_json: bool) -> None:
    """Let JOB_TYPE (or '*', all that have no price) cost CREDITS from now on; jobs there keep theirs."""
    from edgeagent.gateway import bookkeeping

    changed = bookkeeping.set_price(place, job_type, price_ucr)
    if as_json:
        print_json("price/1", {"job_type": job_type, "price_ucr": price_ucr, "changed": changed})
    else:
        click.echo("Set." if changed else "Nothing to change; it cost that already.")


@prices.command()
@at_gateway
@as_json
def history(place: GatewaySettings, as_json: bool) -> None:
    """Show every price that was ever set, oldest first."""
    from edgeagent.gateway import bookkeeping
    from edgeagent.wire.units import format_credits

    found = [(_time(one.since), one.job_type, one.price_ucr) for one in bookkeeping.price_history(place)]
    if as_json:
        rows = [{"since": since, "job_type": job_type, "price_ucr": ucr} for since, job_type, ucr in found]
        print_json("price-history/1", {"prices": rows})
        return
    for since, job_type, ucr in found:
        click.echo(f"{since}  {format_credits(ucr):>12}  {job_type}")


def _said(what: str, new: bool, reference: str, as_json: bool) -> None:
    if as_json:
        print_json("ledger-entry/1", {"reference": reference, "changed": new})
    else:
        click.echo(f"{reference}: {what}" if new else f"{reference}: nothing to change; it was {what} before")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

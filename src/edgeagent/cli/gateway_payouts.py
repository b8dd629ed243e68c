"""``edgeagent gateway payouts``: the owner pays the nodes' operators, month by month."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeagent.cli.gateway_ledger import CreditsParam
from edgeagent.cli.groups import Group
from edgeagent.cli.options import as_json, print_json
from edgeagent.cli.place import at_gateway
from edgeagent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeagent.gateway.config import GatewaySettings
    from edgeagent.gateway.payouts import State
    from edgeagent.gateway.payroll import Order, Report
    from edgeagent.gateway.store.payouts import Month

_STATES = ("carried", "held", "due", "instructed", "paid", "failed")
_FILE = click.Path(dir_okay=False, path_type=Path)
F = TypeVar("F", bound="Callable[..., Any]")


class _AtLeastNothing(CreditsParam):
    """A number of credits that is not negative."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the micro-credits, or fail with a line that says what is wrong."""
        ucr = super().convert(value, param, ctx)
        if ucr < 0:
            self.fail("a minimum cannot be negative", param, ctx)
        return ucr


_month = click.option("--month", required=True, metavar="YYYY-MM", help="A month of UTC that is over, like 2026-10.")


def payout_minimum(name: str = "--payout-minimum") -> Callable[[F], F]:
    """Give a command ``minimum_ucr``, by an option of this name."""
    return click.option(
        name,
        "minimum_ucr",
        type=_AtLeastNothing(),
        envvar="EDGEAGENT_PAYOUT_MINIMUM",
        default="1",
        show_default=True,
        help="Credits that a node must be owed to be paid; less is carried over to the next month.  "
        "[env: EDGEAGENT_PAYOUT_MINIMUM]",
    )


@click.group(cls=Group)
def payouts() -> None:
    """Pay the nodes' operators what they have earned, once for each node and month.

    Works beside a running gateway or without one.  NODE is an id or a name.
    """


@payouts.command()
@at_gateway
@_month
@click.option("--rail", default="manual", show_default=True, help="What carries the payments out; see docs/gateway.md.")
@payout_minimum("--minimum")
@click.option("--output", type=_FILE, help="Where the rail manual writes.  [default: payouts/YYYY-MM.csv in --data]")
@click.option("--dry-run", is_flag=True, help="Say what would be paid, and change nothing.")
@as_json
def run(
    place: GatewaySettings,
    month: str,
    rail: str,
    minimum_ucr: int,
    output: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Pay a month: take the credits from the nodes' accounts, and have the rail pay.

    The same command again pays nobody twice: it does what is left, after a fault or for nodes that have an address
    since.  Nodes without one are held, small sums carried over.
    """
    from edgeagent.gateway import payroll

    order = payroll.Order(month=month, minimum_ucr=minimum_ucr, rail=rail)
    if dry_run:
        _preview(place, order, as_json)
        return
    report = payroll.pay(place, order, output)
    if as_json:
        _print_report(report)
    else:
        _echo(month, _counts(report.month))
        for reference in report.references[:20]:
            click.echo(f"told the rail {rail}: {reference}")
    if report.fault is not None:
        raise EdgeAgentError(f"the rail {rail} did not get to the end: {report.fault}; run it again: the rest is due")


def _preview(place: GatewaySettings, order: Order, as_json: bool) -> None:
    from edgeagent.gateway import payroll

    decided = payroll.preview(place, order)
    counts = payroll.counted(decided)
    if as_json:
        nodes = [
            {"node_id": node_id, "state": one.state.value, "amount_ucr": one.amount_ucr, "why": one.why}
            for node_id, one in decided.items()
        ]
        print_json("payout-preview/1", {"month": order.month, "states": _states(counts), "nodes": nodes})
        return
    _echo(f"{order.month}, nothing changed", counts)


def _print_report(report: Report) -> None:
    document = {"month": report.month.month, "complete": report.month.done_at is not None, "told": report.told}
    said = {"states": _states(_counts(report.month)), "references": list(report.references), "fault": report.fault}
    print_json("payout-run/1", {**document, **said})


@payouts.command(name="list")
@at_gateway
@as_json
def list_(place: GatewaySettings, as_json: bool) -> None:
    """List the months that were paid, with their sums."""
    from edgeagent.gateway import paying, statements

    found = paying.months(place)
    if as_json:
        print_json("payout-months/1", {"months": [statements.month_document(one) for one in found]})
        return
    for one in found:
        _echo(one.month if one.done_at is not None else f"{one.month}, not complete", _counts(one))


@payouts.command()
@at_gateway
@click.argument("month")
@click.option("--status", type=click.Choice(_STATES), help="Only payouts in this state.")
@as_json
def show(place: GatewaySettings, month: str, status: str | None, as_json: bool) -> None:
    """Show the payouts of MONTH, node by node."""
    from edgeagent.gateway import paying, statements
    from edgeagent.gateway.payouts import State
    from edgeagent.gateway.texts import one_line
    from edgeagent.wire.units import format_credits

    found = paying.show(place, month, None if status is None else State(status))
    if as_json:
        print_json("payouts/1", {"month": month, "payouts": [statements.payout_document(one) for one in found]})
        return
    for one in found:
        what = one_line(one.why or one.reference)
        click.echo(f"{one.node_id}  {one.state.value:<10}  {format_credits(one.amount_ucr):>12}  {one.name}  {what}")


@payouts.command()
@at_gateway
@click.argument("month")
@click.argument("node")
@click.option("--reference", required=True, metavar="TEXT", help="Of the payment, like its number at the bank.")
@as_json
def confirm(place: GatewaySettings, month: str, node: str, reference: str, as_json: bool) -> None:
    """Say that NODE was paid for MONTH.  The same again changes nothing."""
    from edgeagent.gateway import paying

    _said(month, node, "paid", paying.confirm(place, month, node, reference), as_json)


@payouts.command()
@at_gateway
@click.argument("month")
@click.argument("node")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept in the books.")
@as_json
def fail(place: GatewaySettings, month: str, node: str, reason: str, as_json: bool) -> None:
    """Say that NODE could not be paid for MONTH: it gets its credits back, and the next month pays them."""
    from edgeagent.gateway import paying

    _said(month, node, "failed", paying.fail(place, month, node, reason), as_json)


@payouts.command()
@at_gateway
@_month
@click.option("--format", "kind", type=click.Choice(["csv", "json", "html"]), default="csv", show_default=True)
@click.option("--output", type=_FILE, help="Write to this file, not to stdout.")
def statement(place: GatewaySettings, month: str, kind: str, output: Path | None) -> None:
    """Print a month's statement: every node, what it gets, and how that stands; html is a page to print.

    It tells everybody's payout address: keep it to yourself.
    """
    from edgeagent.gateway import paying

    if output is None:
        paying.statement(place, month, kind, sys.stdout)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            paying.statement(place, month, kind, file)
    except FileExistsError:
        raise EdgeAgentError(f"{output} exists; name another file") from None
    except OSError as error:
        raise EdgeAgentError(f"cannot write {output}: {error.strerror}") from None


def _counts(month: Month) -> dict[State, tuple[int, int]]:
    return {state: (nodes, month.ucr[state]) for state, nodes in month.nodes.items()}


def _states(counts: Mapping[State, tuple[int, int]]) -> dict[str, Any]:
    return {state.value: {"nodes": nodes, "amount_ucr": ucr} for state, (nodes, ucr) in sorted(counts.items())}


def _echo(what: str, counts: Mapping[State, tuple[int, int]]) -> None:
    from edgeagent.wire.units import format_credits

    said = [
        f"{nodes} {state.value} ({format_credits(ucr)} credits)"
        for state, (nodes, ucr) in sorted(counts.items(), key=lambda each: _STATES.index(each[0].value))
    ]
    click.echo(f"{what}: {', '.join(said) or 'nothing is owed'}")


def _said(month: str, node: str, state: str, new: bool, as_json: bool) -> None:
    if as_json:
        print_json("payout/1", {"month": month, "node": node, "state": state, "changed": new})
    else:
        click.echo(f"{month} {node}: {state}" if new else f"{month} {node}: nothing to change; it was {state} before")

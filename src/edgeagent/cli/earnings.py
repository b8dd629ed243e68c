"""``edgeagent earnings``: what the node on this machine has earned, and whether the gateway can prove it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import as_json, print_json
from edgeagent.errors import EdgeAgentError, UsageError

if TYPE_CHECKING:
    from edgeagent.node.config import Identity
    from edgeagent.node.receipts.audit import Verdict
    from edgeagent.node.receipts.book import Book

_month = click.option("--month", metavar="YYYY-MM", help="A month in UTC.  [default: the present one]")


@click.group(cls=Group, invoke_without_command=True)
@_month
@as_json
@click.pass_context
def earnings(context: click.Context, month: str | None, as_json: bool) -> None:
    """Show what this node has earned, by month, day and job type, as the gateway's books have it.

    Months and days are those of UTC.  Works without a running node.
    """
    if context.invoked_subcommand is not None:
        if month is not None or as_json:
            raise UsageError(f"write the options after {context.invoked_subcommand}")
        return
    from edgeagent.cli.shown import earnings_lines
    from edgeagent.node import config
    from edgeagent.node.asking import ask

    _checked(month)
    answer = ask(config.default_home(os.environ), os.environ, "/earnings", month=month)[0]
    if isinstance(answer, EdgeAgentError):
        raise answer
    if as_json:
        print_json("earnings/1", answer)
        return
    for line in earnings_lines(answer):
        click.echo(line)


@earnings.command()
@_month
@as_json
def verify(month: str | None, as_json: bool) -> None:
    """Prove that the gateway's statement of a month holds each receipt of this node, and that nothing was rewritten.

    Works beside a running node or without one.  Without the gateway, only its signatures on the receipts are checked.

    Exit codes: 0 all holds, 1 something does not, 4 the gateway does not answer and nothing is wrong so far.
    """
    import time

    from edgeagent.cli.audited import verdict_document, verdict_lines
    from edgeagent.errors import RefusedError, UnreachableError
    from edgeagent.node import config
    from edgeagent.node.receipts import audit
    from edgeagent.node.receipts.book import open_book
    from edgeagent.wire.receipts import month_of

    identity = config.load(config.default_home(os.environ), os.environ)
    wanted = _checked(month) or month_of(time.time())
    asked: EdgeAgentError | None = None
    with open_book(identity.home, identity.node_id) as book:
        try:
            verdict = _ask(identity, book, wanted)
        except (UnreachableError, RefusedError) as error:
            asked, verdict = error, audit.offline(book, wanted)
    if as_json:
        print_json("earnings-verdict/1", {**verdict_document(verdict), "gateway_fault": str(asked) if asked else None})
    else:
        for line in verdict_lines(verdict):
            click.echo(line)
    if verdict.faults:
        raise EdgeAgentError(f"{wanted} does not hold; keep {identity.home} as it is, and ask the gateway's owner")
    if asked is not None:
        raise asked


def _ask(identity: Identity, book: Book, month: str) -> Verdict:
    import trio

    from edgeagent.node.receipts.asking import Asking
    from edgeagent.node.receipts.audit import audit
    from edgeagent.rest import Rest

    async def call() -> Verdict:
        async with Rest(identity.gateway, identity.token) as rest:
            return await audit(book, Asking(rest), month)

    return trio.run(call)


def _checked(month: str | None) -> str | None:
    from edgeagent.wire.receipts import month_bounds

    try:
        if month is not None:
            month_bounds(month)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return month

"""``edgeagent status`` and ``edgeagent why``: how the node on this machine is, and what the gateway says of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.options import as_json, print_json
from edgeagent.errors import EdgeAgentError

if TYPE_CHECKING:
    from pathlib import Path


def _home() -> Path:
    from edgeagent.node import config

    return config.default_home(os.environ)


@click.command()
@as_json
def status(as_json: bool) -> None:
    """Show how the node that runs on this machine is.

    Exit codes: 0 healthy, 5 not, 4 where no node runs or it does not reach the gateway.
    """
    from edgeagent.errors import UnhealthyError, UnreachableError
    from edgeagent.node import status as decided
    from edgeagent.node.controller import Controller

    home = _home()
    with Controller(home) as node:
        state = node.ask("state")["state"]
    health, warnings = decided.health(state), decided.warnings(state)
    earned = _earned(home) if health is not decided.Health.UNREACHABLE else None
    if as_json:
        state.pop("schema")
        print_json(
            "node-status/1", {"health": health.value, "warnings": warnings, "earnings": earned, **_without(state)}
        )
    else:
        from edgeagent.cli.shown import status_lines

        for line in status_lines(state, earned, warnings):
            click.echo(line)
    codes = {decided.Health.UNREACHABLE: UnreachableError.exit_code, decided.Health.UNHEALTHY: UnhealthyError.exit_code}
    sys.exit(codes.get(health, 0))


def _without(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != "warnings"}


def _earned(home: Path) -> dict[str, Any] | None:
    """Return today's and this month's credits as the gateway's books have them; None where they cannot be had."""
    from edgeagent.node.asking import ask

    try:
        answer = ask(home, os.environ, "/earnings")[0]
    except EdgeAgentError:
        return None  # a node with another identity than this shell's
    if isinstance(answer, EdgeAgentError):
        return None
    return {
        "today_ucr": answer["today"]["earned_ucr"],
        "month": answer["month"],
        "month_ucr": answer["total"]["earned_ucr"],
        "balance_ucr": answer["balance_ucr"],
    }


@click.command()
@as_json
def why(as_json: bool) -> None:
    """Say why the node has no work now, from both sides: its own, and the gateway's.

    The first reason is the one that decides; the others matter once it is gone.
    """
    from edgeagent.node.asking import ask
    from edgeagent.node.controller import Controller
    from edgeagent.node.why import explain

    home = _home()
    with Controller(home) as node:
        state = node.ask("state")["state"]
    try:
        answer = ask(home, os.environ, "/standing")[0]
    except EdgeAgentError as error:
        answer = error
    standing = None if isinstance(answer, EdgeAgentError) else answer
    reasons = explain(state, standing)
    if as_json:
        import attrs

        asked = str(answer) if isinstance(answer, EdgeAgentError) else None
        print_json(
            "why/1", {"reasons": [attrs.asdict(one) for one in reasons], "gateway_fault": asked, "standing": standing}
        )
        return
    from edgeagent.cli.shown import reason_line

    for reason in reasons:
        click.echo(reason_line(reason))
    if isinstance(answer, EdgeAgentError):
        click.echo(f"The gateway's side is not known: {answer}", err=True)

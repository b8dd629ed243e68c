"""``edgeagent drain``, ``pause`` and ``resume``: orders for the node that runs on this machine."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from edgeagent.cli.options import DurationParam, as_json, print_json


def _home() -> Path:
    from edgeagent.node import config

    return config.default_home(os.environ)


@click.command()
@click.option(
    "--deadline",
    "deadline_s",
    type=DurationParam(),
    help="Time that running jobs get, such as 1h.  [default: the option shutdown.grace]",
)
@click.option("--wait", is_flag=True, help="Return only when the node has ended.")
@as_json
def drain(deadline_s: float | None, wait: bool, as_json: bool) -> None:
    """Let the running jobs end, and stop the node.

    No new jobs are taken.  What still runs at the deadline is stopped, and the gateway gives it to other nodes.
    Results are sent before the node ends.  A drain cannot be taken back; asked for again, it can only end sooner.
    """
    from edgeagent.node.controller import Controller
    from edgeagent.wire.units import format_duration

    with Controller(_home()) as node:
        answer = node.ask("drain", deadline_s=deadline_s)
        if as_json:
            print_json("drain/1", _said(answer))
        else:
            left = format_duration(answer["left_s"])
            click.echo(f"The node drains: {_running(answer)}, for {left} at most.")
        if wait:
            node.wait()


@click.command()
@click.option("--for", "for_s", type=DurationParam(), help="How long, such as 2h.  [default: until resume]")
@as_json
def pause(for_s: float | None, as_json: bool) -> None:
    """Take no new jobs; those that run go on, and the link stays.

    The node stays paused when it is started anew.
    """
    from edgeagent.node.controller import Controller

    with Controller(_home()) as node:
        answer = node.ask("pause", for_s=for_s)
    if as_json:
        print_json("pause/1", _said(answer))
        return
    until = answer["until"]
    how_long = "until you type: edgeagent resume" if until is None else f"until {_clock(until)}"
    click.echo(f"The node is paused {how_long}; {_running(answer)} on.")


@click.command()
@as_json
def resume(as_json: bool) -> None:
    """Take jobs again after `edgeagent pause`."""
    from edgeagent.node.controller import Controller

    with Controller(_home()) as node:
        answer = node.ask("resume")
        against = node.ask("state")["state"]["against"]
    if as_json:
        print_json("resume/1", {**_said(answer), "against": against})
        return
    click.echo("The node takes jobs again." if answer["was_paused"] else "The node was not paused.")
    for reason in against:
        click.echo(f"No jobs are taken yet: {reason['text']}.", err=True)


def _said(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("v", "ok")}


def _running(answer: dict[str, Any]) -> str:
    count: int = answer["running"]
    return f"{count or 'no'} {'jobs run' if count > 1 else 'job runs'}"


def _clock(moment: float) -> str:
    shown = datetime.fromtimestamp(moment)
    return shown.strftime("%H:%M" if moment < time.time() + 43200 else "%Y-%m-%d %H:%M")

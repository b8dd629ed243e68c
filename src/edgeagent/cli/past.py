"""``edgeagent jobs`` and ``edgeagent logs``: what the node on this machine has done."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.options import as_json, print_json
from edgeagent.errors import EdgeAgentError, UnreachableError

if TYPE_CHECKING:
    from pathlib import Path


def _home() -> Path:
    from edgeagent.node import config

    return config.default_home(os.environ)


@click.command()
@click.option("--limit", type=click.IntRange(1, 5000), default=20, show_default=True, help="Most jobs that are shown.")
@click.option("--failed", is_flag=True, help="Only those that did not complete.")
@as_json
def jobs(limit: int, failed: bool, as_json: bool) -> None:
    """Show the jobs that run here, and the last ones that did; the newest first.

    Works without a running node.
    """
    import sqlite3

    import attrs

    from edgeagent.node import history

    home = _home()
    try:
        done = list(history.read(home, limit=limit, failed=failed))
    except sqlite3.Error as error:
        raise EdgeAgentError(f"{home / history.FILE} cannot be read: {error}; remove it, nothing rests on it") from None
    running = [] if failed else _running(home)
    if as_json:
        print_json("node-jobs/1", {"running": running, "ended": [attrs.asdict(one) for one in done]})
        return
    from edgeagent.wire.units import format_credits, format_duration

    if not running and not done:
        click.echo("No job has failed here." if failed else "No job has run here yet.", err=True)
    for one in running:
        click.echo(f"{'running':19}  {one['job_type']}  for {format_duration(one['running_s'])}  job {one['job_id']}")
    for each in done:
        ended = datetime.fromtimestamp(each.ended_at).isoformat(" ", "seconds")
        paid = "not paid yet" if each.credited_ucr is None else f"{format_credits(each.credited_ucr)} credits"
        why = f"  {each.detail}" if each.detail else ""
        click.echo(f"{ended}  {each.job_type}  {each.outcome}  {each.wall_s:.1f}s  {paid}  job {each.job_id}{why}")


def _running(home: Path) -> list[dict[str, Any]]:
    from edgeagent.node.controller import Controller

    try:
        with Controller(home) as node:
            found: list[dict[str, Any]] = node.ask("state")["state"]["running"]
    except UnreachableError:
        return []
    return found


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on, until Ctrl-C.")
@click.option("--job", metavar="ID", help="Only what is about this job or attempt.")
@click.option("-n", "--lines", type=click.IntRange(0), default=100, show_default=True, help="Most lines of the past.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, as it was logged.")
def logs(follow: bool, job: str | None, lines: int, as_json: bool) -> None:
    """Show what the node has logged; it keeps the last 4 to 8 MiB in its home.

    With --job, what that job has printed stands between the node's lines about it; of that, as much is kept.
    """
    from edgeagent.node import journal

    home = _home()
    past = list(journal.entries(home, job=job, last=lines))
    coming = journal.follow(home, job=job) if follow else ()  # what comes while the past is printed, too
    if not past:
        click.echo(f"Nothing is logged about job {job}." if job else "Nothing is logged yet.", err=True)
    with contextlib.suppress(KeyboardInterrupt):  # which is how following ends
        for entry in itertools.chain(past, coming):
            click.echo(json.dumps(entry) if as_json else _line(entry))


def _line(entry: dict[str, Any]) -> str:
    said = {"timestamp", "level", "event"}
    if entry.get("level") == "printed":  # of the one job that was asked for
        said |= {"job_id", "attempt_id"}
    details = "  ".join(f"{key}={value}" for key, value in entry.items() if key not in said)
    return f"{entry.get('timestamp', '')}  {entry.get('level', ''):8}{entry.get('event', '')}  {details}".rstrip()

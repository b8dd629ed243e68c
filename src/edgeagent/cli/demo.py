"""``edgeagent demo``: four real jobs through a whole network, and what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeagent.cli.options import DIRECTORY, as_json, print_json
from edgeagent.errors import EdgeAgentError, UsageError

if TYPE_CHECKING:
    from edgeagent.demo.run import Demo


@click.command()
@click.option("--data", type=DIRECTORY, help="Keep the gateway, the node and their logs there.  [default: temporary]")
@click.option("--output", type=DIRECTORY, help="Keep the jobs' files there.")
@click.option("--keep", is_flag=True, help="Keep everything running until Ctrl-C.")
@as_json
def demo(data: Path | None, output: Path | None, keep: bool, as_json: bool) -> None:
    """Run four real jobs through a whole network on this machine.

    Starts a gateway and a node, submits echo, cpu_benchmark, render and inference, and shows what came back and what
    it earned.  Exit 0 only when all four completed, were right and were credited.
    """
    import trio

    from edgeagent.cli.progress import Follower

    try:
        from edgeagent.demo import run as demonstration
    except ImportError as error:
        raise UsageError(f"{error.name} is missing; run: pip install 'edgeagent[gateway,render,inference]'") from None

    follower = Follower()

    async def show(result: Demo) -> None:
        follower.stop()
        if not as_json:
            _print(result, kept=bool(data or output) or keep)
        if keep:
            click.echo(f"Leaderboard: {result.address}  (Ctrl-C stops everything)", err=True)
            await _until_interrupted()

    async def call() -> Demo:
        with follower:
            return await demonstration.run(data, output, follower, show)

    result = trio.run(call)
    if as_json:
        document = {"jobs": list(result.jobs), "node": result.node, "outputs": list(result.outputs)}
        print_json("demo/1", document)
    if result.complaints:
        raise EdgeAgentError("; ".join(result.complaints))


async def _until_interrupted() -> None:
    import signal

    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return


def _print(result: Demo, *, kept: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Jobs")
    for heading in ("type", "status"):
        table.add_column(heading)
    for heading in ("queued", "running", "sandbox", "enforced", "credits"):
        table.add_column(heading, justify="right")
    for job in result.jobs:
        times = (f"{job['queued_s']:.2f} s", f"{job['running_s']:.2f} s")
        sandbox = (job["sandbox"]["tier"], str(len(job["sandbox"]["enforced"])))
        table.add_row(job["job_type"], job["status"], *times, *sandbox, f"{job['credits']:g}")
    console = Console()
    console.print(table)
    for path in result.outputs:
        console.print(f"Result: {path if kept else Path(path).name}", highlight=False, soft_wrap=True)
    if result.outputs and not kept:
        console.print("The files go with the demo; keep them with --output DIR.", highlight=False)
    console.print(f"Node:   {result.node['status']}, {result.node['earned']:g} credits earned", highlight=False)

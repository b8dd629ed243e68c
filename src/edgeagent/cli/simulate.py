"""``edgeagent simulate``: a whole network in this process, for a day that takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgeagent.cli.options import as_json, print_json
from edgeagent.errors import EdgeAgentError, UsageError

if TYPE_CHECKING:
    from edgeagent.simulation.scenario import FaultKind, Scenario
    from edgeagent.simulation.world import Summary

#: ``scenario.FaultKind`` spells them again; a test compares the two.
FAULTS = (
    *("cut", "stall", "delay", "half-open", "partition", "suspend"),
    *("node-kill", "node-stop", "gateway-kill", "gateway-stop", "clock"),
)


@click.command()
@click.option("--nodes", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many nodes.")
@click.option("--hours", type=click.FloatRange(0.01, 24 * 31), default=24.0, show_default=True, help="Simulated time.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed takes the same course.")
@click.option(
    "--jobs-per-hour", type=click.FloatRange(0, 100_000), default=120.0, show_default=True, help="Jobs submitted."
)
@click.option(
    "--heartbeat",
    "heartbeat_s",
    type=click.FloatRange(1, 600),
    default=15.0,
    show_default=True,
    help="Seconds between heartbeats; leases and patience go with it.  A rarer one makes a day cheaper.",
)
@click.option("--faults", default="all", show_default=True, metavar="NAMES", help=f"all, none, or {','.join(FAULTS)}.")
@click.option("--cheaters", type=click.IntRange(0, 1000), default=0, show_default=True, help="Nodes that lie.")
@click.option(
    "--lies",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="The share of their results they make up.",
)
@click.option("--together", is_flag=True, help="They agree on what they make up.")
@click.option("--checks", is_flag=True, help="Check results of every job type, as gateway trust set TYPE does.")
@as_json
def simulate(
    nodes: int,
    hours: float,
    seed: int,
    jobs_per_hour: float,
    heartbeat_s: float,
    faults: str,
    cheaters: int,
    lies: float,
    together: bool,
    checks: bool,
    as_json: bool,
) -> None:
    """Simulate a network with faults on a virtual clock, and check that no job and no credit is lost.

    The gateway and the nodes are the real ones; lines, sandbox, clocks and submitters are simulated.  Exit 1 when a
    guarantee was broken.
    """
    if cheaters > nodes:
        raise click.BadParameter(f"{cheaters} of {nodes} nodes cannot cheat", param_hint="--cheaters")
    import tempfile
    import time
    from pathlib import Path

    wanted = _faults(faults)  # before the imports: a name that is none is answered at once
    try:
        from edgeagent.simulation import world
        from edgeagent.simulation.scenario import Scenario
    except ImportError as error:
        raise UsageError(f"{error.name} is missing; run: pip install 'edgeagent[gateway]'") from None

    from edgeagent import logs

    logs.configure("ERROR")
    scenario = Scenario(
        nodes=nodes,
        hours=hours,
        seed=seed,
        jobs_per_hour=jobs_per_hour,
        heartbeat_s=heartbeat_s,
        faults=wanted,
        cheaters=cheaters,
        lies=lies,
        together=together,
        checks=checks,
    )
    began = time.process_time()
    with tempfile.TemporaryDirectory(prefix="edgeagent-simulation-") as directory:
        summary = world.run(scenario, Path(directory))
    took_s = time.process_time() - began
    if as_json:
        import attrs

        document = {"seed": seed, "nodes": nodes, "hours": hours, "cpu_s": round(took_s, 2), **attrs.asdict(summary)}
        print_json("simulation/1", document)
    else:
        _print(scenario, summary, took_s)
    if summary.breaches:
        more = f" (and {len(summary.breaches) - 1} more)" if len(summary.breaches) > 1 else ""
        raise EdgeAgentError(f"a guarantee was broken: {next(iter(summary.breaches))}{more}")


def _faults(names: str) -> frozenset[FaultKind]:
    from edgeagent.simulation.scenario import FaultKind

    if names in {"all", "none"}:
        return frozenset(FaultKind if names == "all" else ())
    try:
        return frozenset(FaultKind(name.strip()) for name in names.split(","))
    except ValueError:
        raise click.BadParameter(f"{names!r}: say all, none, or some of {', '.join(FAULTS)}") from None


def _print(scenario: Scenario, summary: Summary, took_s: float) -> None:
    from rich.console import Console
    from rich.table import Table

    from edgeagent.wire.units import format_credits

    table = Table(title=f"{scenario.nodes} nodes, {scenario.hours:g} h, seed {scenario.seed}")
    for heading in ("what", "how many", "of which"):
        table.add_column(heading, justify="right" if heading == "how many" else "left")
    table.add_row("jobs", str(sum(summary.jobs.values())), _list(summary.jobs))
    table.add_row("attempts", str(sum(summary.attempts.values())), _list(summary.attempts))
    table.add_row("credits earned", format_credits(summary.credited_ucr), "")
    table.add_row("faults", str(sum(summary.faults.values())), _list(summary.faults))
    table.add_row("links opened", str(summary.links), f"{summary.frames} frames")
    table.add_row("gateway starts", str(summary.gateway_lives), "")
    seen = summary.cheating
    if scenario.cheaters or scenario.checks:
        found = "" if seen.detected is None else f"{seen.detected:.1%} of {seen.caught + seen.accepted} lies"
        table.add_row("lies found out", str(seen.caught), found)
        table.add_row(
            "lies accepted", str(seen.accepted), f"{format_credits(seen.lies_paid_ucr)} credits paid for them"
        )
        table.add_row("honest nodes blamed", str(seen.blamed), "")
        table.add_row("results", str(seen.results), f"{seen.overhead:.1%} more than jobs completed")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"The last job ended {summary.settled_s:.0f} s after the day; {took_s:.1f} s of processor time.")
    console.print(f"History: {summary.digest}")
    for breach in summary.breaches:
        console.print(f"BROKEN: {breach}", markup=False)
    if not summary.breaches:
        console.print("No job was lost, none was paid twice, and the books balance.")


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name.lower()}" for name, number in counts.items() if number)

"""``edgeagent bench``: this machine's own scores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click

from edgeagent.cli.options import as_json, print_json
from edgeagent.errors import UnreachableError

#: What ``node.bench.run`` measures; here, so that --help imports nothing.
_PARTS = ("cpu", "memory", "disk", "sandbox", "jobs")


@click.command()
@click.option(
    "--only", "parts", type=click.Choice(_PARTS), multiple=True, help="Measure this alone; may be said again."
)
@as_json
def bench(parts: tuple[str, ...], as_json: bool) -> None:
    """Measure this machine: processor, memory, disk, sandboxes, and the plugins' own benchmark jobs.

    Jobs run in the same sandbox as strangers' do.  Takes some seconds for each, sends nothing to anybody, and works
    without a running node; beside one that has work, the figures are lower.
    """
    from edgeagent.node import config
    from edgeagent.node.bench.run import measure
    from edgeagent.node.controller import Controller
    from edgeagent.node.options.resolve import load

    home = config.default_home(os.environ)
    try:
        with Controller(home) as node:
            running = len(node.ask("state")["state"]["running"])
    except UnreachableError:
        running = 0
    if running:
        click.echo(f"The node on this machine runs {running} jobs; for true figures: edgeagent pause", err=True)
    found: dict[str, Any] = {}
    for name, scores in measure(home, load(home, os.environ), parts or _PARTS):
        found[name] = scores
        if not as_json:
            for line in _lines(name, scores):
                click.echo(line)
    if as_json:
        print_json("bench/1", {"jobs_beside": running, **found})


def _lines(name: str, scores: Any) -> Iterator[str]:
    from edgeagent.wire.units import format_size

    def rate(size: float) -> str:
        return f"{format_size(int(size))}/s"

    match name:
        case "cpu":
            yield (
                f"{'Processor':11}{scores['cores']} cores; one core sieves {scores['sieved_per_s'] / 1e6:.1f} million "
                f"numbers a second and hashes {rate(scores['sha256_bytes_per_s'])}"
            )
        case "memory":
            yield f"{'Memory':11}copies {rate(scores['copied_bytes_per_s'])}"
        case "disk":
            yield (
                f"{'Disk':11}writes {rate(scores['written_bytes_per_s'])}, reads {rate(scores['read_bytes_per_s'])}, "
                f"a small write takes {scores['small_write_s'] * 1000:.2f} ms"
            )
        case "sandbox":
            yield (
                f"{'Sandbox':11}tier {scores['tier']}, {scores['starts_per_s']:.0f} jobs/s one at a time, "
                f"{scores['starts_per_s_all_slots']:.0f} with {scores['slots']} at a time"
            )
        case _:
            for job in scores:
                why = f": {job['detail']}" if job["detail"] else ""
                peak = format_size(job["memory_peak_bytes"])
                yield (
                    f"{'Job':11}{job['job_type']} {job['outcome']}{why}, {job['wall_s']:.2f} s, "
                    f"{job['cpu_s']:.2f} s of processor, {peak}"
                )

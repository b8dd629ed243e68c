"""``edgeagent doctor``: look at everything that a node needs."""

from __future__ import annotations

import os
import sys

import click

from edgeagent.cli.options import as_json, print_json


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Look at everything that a node needs, and say what to do where it is missing.

    Works without a running node, and changes nothing.  Exit codes: 0, or 1 where something FAILs.
    """
    import attrs

    from edgeagent.node import config
    from edgeagent.node.doctor.examine import examine
    from edgeagent.node.doctor.verdicts import Level

    found = []
    for verdict in examine(config.default_home(os.environ), os.environ):
        found.append(verdict)
        if not as_json:
            click.echo(f"{verdict.level.value}  {verdict.check:11}{verdict.text}")
            if verdict.remedy:
                click.echo(f"      {'':11}-> {verdict.remedy}")
    counts = {level.value: sum(one.level is level for one in found) for level in Level}
    if as_json:
        print_json("doctor/1", {"counts": counts, "checks": [attrs.asdict(one) for one in found]})
    else:
        click.echo(", ".join(f"{count} {level}" for level, count in counts.items()))
    sys.exit(1 if counts[Level.FAIL.value] else 0)

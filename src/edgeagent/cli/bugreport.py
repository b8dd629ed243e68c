"""``edgeagent bugreport``: collect what a maintainer needs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edgeagent.errors import EdgeAgentError


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("edgeagent-bugreport.txt"),
    show_default=True,
    help="Where to write it; - for stdout.",
)
def bugreport(output: Path) -> None:
    """Write what a maintainer needs to know of this node into a text file, without secrets.

    Versions, what doctor finds, the node's status, the options and where they come from, and the last log lines.
    Look through it before you send it: names of this machine's files and job ids are in it.
    """
    from edgeagent.node import config
    from edgeagent.node.bugreport import collect

    text = collect(config.default_home(os.environ), os.environ)
    if str(output) == "-":
        click.echo(text)
        return
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise EdgeAgentError(f"{output} exists; name another file with --output") from None
    except OSError as error:
        raise EdgeAgentError(f"cannot write {output}: {error.strerror}") from None
    click.echo(f"Written to {output}; look through it before you send it.")

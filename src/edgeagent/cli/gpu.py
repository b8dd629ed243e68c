"""``edgeagent gpu``: which GPUs the running node lends, and to have single ones rest."""

from __future__ import annotations

import os
from typing import Any

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import as_json, print_json


@click.group(cls=Group)
def gpu() -> None:
    """The GPUs that the running node lends.

    Which may be lent at all, and to which job types, is said by the options gpu.lend, gpu.exclude and gpu.only_for.
    """


@gpu.command("list")
@as_json
def list_gpus(as_json: bool) -> None:
    """Show the GPUs that are lent: number, UUID, whether it is paused, how many jobs have it now."""
    _show(_ask("state")["state"]["gpu_states"], as_json)


@gpu.command()
@click.argument("name", metavar="[UUID|NUMBER]", required=False)
@as_json
def pause(name: str | None, as_json: bool) -> None:
    """Lend a GPU no more; without a name, none at all.

    Jobs that have it run to their end.  The gateway is told at once, and the GPU stays paused when the node is started
    anew.  Other jobs come as before; `edgeagent pause` is for those.
    """
    _show(_ask("gpu_pause", gpu=name)["gpus"], as_json)


@gpu.command()
@click.argument("name", metavar="[UUID|NUMBER]", required=False)
@as_json
def resume(name: str | None, as_json: bool) -> None:
    """Lend a GPU again after `edgeagent gpu pause`; without a name, all of them."""
    _show(_ask("gpu_resume", gpu=name)["gpus"], as_json)


def _ask(do: str, **details: Any) -> dict[str, Any]:
    from edgeagent.node import config
    from edgeagent.node.controller import Controller

    with Controller(config.default_home(os.environ)) as node:
        return node.ask(do, **details)


def _show(gpus: list[dict[str, Any]], as_json: bool) -> None:
    from edgeagent.cli.shown import gpu_lines

    if as_json:
        print_json("gpus/1", {"gpus": gpus})
        return
    for line in gpu_lines(gpus):
        click.echo(line)

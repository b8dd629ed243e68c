"""``edgeagent plugins``: the kinds of work that this machine knows, whether they run here, and a new one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import DIRECTORY, as_json, print_json
from edgeagent.errors import EdgeAgentError, UsageError

if TYPE_CHECKING:
    from edgeagent.plugins.loading import Discovered

#: Jobs that root's node starts run as another user; the node's home around it is closed to all others.
_READABLE = 0o644


@click.group(cls=Group)
def plugins() -> None:
    """The kinds of work that this machine knows."""


def _directory() -> Path:
    from edgeagent.node import config

    return config.default_home(os.environ) / "plugins"


def _discover() -> Discovered:
    from edgeagent.plugins.loading import discover

    return discover(_directory())


@plugins.command("list")
@as_json
def list_(as_json: bool) -> None:
    """Show every job type that has a plugin, and where that is; runs none of their code."""
    found = _discover()
    if as_json:
        rows = [{"job_type": job_type, "plugin": spec} for job_type, spec in found.plugins.items()]
        print_json("plugins/1", {"plugins": rows, "errors": list(found.errors)})
        return
    for job_type, spec in found.plugins.items():
        click.echo(f"{job_type:20} {spec}")
    for error in found.errors:
        click.echo(f"not usable: {error}", err=True)


@plugins.command()
@as_json
def check(as_json: bool) -> None:
    """Load every plugin, as the node does when it starts, and say which can be run here.

    Exit code 1 where one is broken; a plugin that says itself that this machine lacks something is not.
    """
    from edgeagent.plugins.loading import PLUGIN_DIR_VARIABLE
    from edgeagent.plugins.probe import available

    found = _discover()
    os.environ.setdefault(PLUGIN_DIR_VARIABLE, str(_directory()))
    offer = available(found.plugins)
    broken = [*found.errors, *(reason for reason in offer.reasons.values() if _is_fault(reason, found))]
    if as_json:
        rows = [
            {"job_type": job_type, "plugin": spec, "reason": offer.reasons.get(job_type)}
            for job_type, spec in found.plugins.items()
        ]
        print_json("plugin-check/1", {"plugins": rows, "errors": list(found.errors)})
    else:
        for job_type in found.plugins:
            reason = offer.reasons.get(job_type)
            click.echo(f"{job_type:20} {'can be run here' if reason is None else f'cannot: {reason}'}")
        for error in found.errors:
            click.echo(f"not usable: {error}", err=True)
    if broken:
        raise EdgeAgentError(f"{len(broken)} plugins are broken; correct their files, or remove them")


def _is_fault(reason: str, found: Discovered) -> bool:
    """Say whether a plugin failed, where it could have said what it lacks: such a reason begins with its place."""
    return any(reason.startswith(spec) for spec in found.plugins.values())


@plugins.command()
@click.argument("name")
@click.option("--directory", type=DIRECTORY, help="Where to write it.  [default: plugins in the node's home]")
def new(name: str, directory: Path | None) -> None:
    """Write a plugin for the job type NAME to start from, and a test of it that passes.

    NAME is lower-case letters, digits and _, and begins with a letter.
    """
    from edgeagent.plugins import template

    if not template.NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a plugin; use lower-case letters, digits and _, such as my_renderer")
    place = directory or _directory()
    written = {place / f"{name}.py": template.plugin(name), place / f"_test_{name}.py": template.test(name)}
    for path in written:
        if path.exists():
            raise EdgeAgentError(f"{path} exists; choose another name, or remove it")
    try:
        if not place.is_dir():
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.mkdir()
            place.chmod(_READABLE | 0o111)
        for path, text in written.items():
            path.write_text(text)
            path.chmod(_READABLE)
    except OSError as error:
        raise EdgeAgentError(f"{place} cannot be written: {error.strerror}") from None
    for path in written:
        click.echo(str(path))
    click.echo(f"Try it: {sys.executable} -m pytest {place / f'_test_{name}.py'}", err=True)
    click.echo("Then start the node again. (pytest is not installed with edgeagent.)", err=True)

"""``edgeagent service``: the node as a service of systemd."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import click

from edgeagent.cli.groups import Group

if TYPE_CHECKING:
    from edgeagent.node.systemd.install import Scope


@click.group(cls=Group)
def service() -> None:
    """Have systemd run the node: from boot on, and again when it falls.

    Without --user, as a user of its own (edgeagent, home /var/lib/edgeagent) who may do little else; that takes root.
    With --user, as you, from your own home, while you are logged in (or always, after: loginctl enable-linger).
    """


_of_user = click.option("--user", "of_user", is_flag=True, help="Your own service, instead of the system's.")


def _scope(of_user: bool) -> Scope:
    from edgeagent.node.systemd.install import Scope

    return Scope(system=not of_user)


@service.command()
@_of_user
def install(of_user: bool) -> None:
    """Write the unit, enable it, and start the node if it is registered.

    Type it again after a change of shutdown.grace, of this machine's GPUs, or of the place where edgeagent is.
    """
    from edgeagent.node import config
    from edgeagent.node.systemd import install as how
    from edgeagent.node.systemd import unit

    scope, home = _scope(of_user), config.default_home(os.environ).absolute()
    click.echo(f"Installed {how.install(scope, home)}")
    if not how.registered(scope, home):
        as_whom = "" if of_user else f"sudo -u {unit.USER} EDGEAGENT_HOME={unit.HOME} "
        click.echo(f"Register the node:  {as_whom}edgeagent register --gateway-url URL --name NAME", err=True)
        start = "systemctl --user start" if of_user else "sudo systemctl start"
        click.echo(f"Then start it:      {start} edgeagent", err=True)


@service.command()
@_of_user
def uninstall(of_user: bool) -> None:
    """Let the running jobs end, stop the node, and remove the unit; the node's home stays."""
    from edgeagent.node.systemd import install as how

    scope = _scope(of_user)
    how.uninstall(scope)
    click.echo(f"Removed {scope.unit}")


def _become(program: str, *words: str) -> NoReturn:
    """Become a program of systemd's, whose output and exit code are the answer."""
    from edgeagent.errors import EdgeAgentError

    try:
        os.execvp(program, [program, *words])  # noqa: S606 (a list, no shell)
    except FileNotFoundError:
        raise EdgeAgentError(f"{program} is not here: this machine has no systemd") from None


@service.command()
@_of_user
def status(of_user: bool) -> None:
    """Show what systemd knows of the service; exits as systemctl status does (0 up, 3 down, 4 not installed)."""
    _become(*_scope(of_user).command("systemctl", "status", "--no-pager", "edgeagent.service"))


@service.command()
@_of_user
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come.")
@click.option("-n", "--lines", type=click.IntRange(min=1), default=100, show_default=True, help="Lines to begin with.")
def logs(of_user: bool, follow: bool, lines: int) -> None:
    """Show what the node has logged."""
    unit = "--user-unit=edgeagent.service" if of_user else "--unit=edgeagent.service"
    _become("journalctl", "--no-pager", f"--lines={lines}", *(("--follow",) if follow else ()), unit)

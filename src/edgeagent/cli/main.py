"""The root of the command line, and the one place where a fault becomes a line on stderr and an exit code."""

from __future__ import annotations

import importlib
from typing import Any

import click

from edgeagent import __version__
from edgeagent.errors import EdgeAgentError

#: Command -> (module, attribute, help line).  The help stands here so that listing commands imports nothing.
_COMMANDS = {
    "register": ("node", "register", "Register this machine with a gateway."),
    "run": ("node", "run", "Run the node agent until SIGTERM."),
    "status": ("status", "status", "Show how the node is."),
    "why": ("status", "why", "Say why the node has no work now."),
    "doctor": ("doctor", "doctor", "Look at everything that a node needs."),
    "jobs": ("past", "jobs", "Show the jobs that the node runs, and ran."),
    "logs": ("past", "logs", "Show what the node has logged."),
    "bugreport": ("bugreport", "bugreport", "Collect what a maintainer needs, without secrets."),
    "earnings": ("earnings", "earnings", "Show what the node has earned, and check that it was paid."),
    "profile": ("profile", "profile", "Choose how the leaderboard shows the node."),
    "bench": ("bench", "bench", "Measure this machine."),
    "pause": ("control", "pause", "Have the node take no new jobs."),
    "resume": ("control", "resume", "Have the node take jobs again."),
    "drain": ("control", "drain", "Let the running jobs end, and stop the node."),
    "gpu": ("gpu", "gpu", "Show, pause and resume single GPUs."),
    "service": ("service", "service", "Have systemd run the node."),
    "config": ("config", "config", "Look at the node's options, and set them."),
    "keys": ("node", "keys", "Show the node's key, or give it a new one."),
    "plugins": ("plugins", "plugins", "List, check and begin kinds of work."),
    "job": ("job", "job", "Submit jobs and look at them."),
    "files": ("files", "files", "Keep files on the gateway, for jobs to use."),
    "gateway": ("gateway", "gateway", "Run a gateway and look after it."),
    "demo": ("demo", "demo", "Run four real jobs through a whole network on this machine."),
    "simulate": ("simulate", "simulate", "Simulate a network with faults, and check that nothing is lost."),
    "version": ("about", "version", "Show the version, and what it runs on."),
    "completion": ("about", "completion", "Print what makes a shell complete this command."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when it is called for, and turns faults into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order a newcomer needs them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None for an unknown name."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"edgeagent.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an expected fault becomes one line on stderr and its exit code."""
        try:
            return super().invoke(ctx)
        except EdgeAgentError as error:
            raise _Fault(error) from None
        except BaseExceptionGroup as group:
            # A nursery wraps what ends it.  All that is inside must be expected, or it is a bug and stays visible.
            expected, rest = group.split(EdgeAgentError)
            if rest is not None or expected is None:
                raise
            raise _Fault(_first(expected)) from None


def _first(error: BaseException) -> EdgeAgentError:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EdgeAgentError)
    return error


class _Fault(click.ClickException):
    """An expected fault, as click prints and exits with one."""

    def __init__(self, error: EdgeAgentError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click itself reads it from the instance


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgeagent", message="%(prog)s %(version)s")
def main() -> None:
    """Lend your machine to a compute network and be credited for finished work.

    Exit codes: 0 ok, 1 failed, 2 usage, 3 refused by the gateway, 4 unreachable, 5 unhealthy.
    """

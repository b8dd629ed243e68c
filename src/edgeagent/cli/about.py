"""``edgeagent version`` and ``edgeagent completion``: what is installed, and what a shell completes."""

from __future__ import annotations

import platform
import sys

import click

from edgeagent import __version__
from edgeagent.cli.options import as_json, print_json

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@as_json
def version(as_json: bool) -> None:
    """Show the version of edgeagent, and what it runs on."""
    document = {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "executable": sys.executable,
    }
    if as_json:
        print_json("version/1", document)
        return
    click.echo(f"edgeagent {__version__}")
    click.echo(f"Python {document['python']}, {document['system']} {document['release']} {document['machine']}")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which a shell completes this command.

    \b
    bash:  eval "$(edgeagent completion bash)"                                   in ~/.bashrc
    zsh:   eval "$(edgeagent completion zsh)"                                    in ~/.zshrc
    fish:  edgeagent completion fish > ~/.config/fish/completions/edgeagent.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # click knows all three
    made = found(context.find_root().command, {}, "edgeagent", "_EDGEAGENT_COMPLETE")
    click.echo(made.source_template % made.source_vars())  # source() would run bash, only to look at its version

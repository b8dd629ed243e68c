"""``edgeagent config``: look at the node's options, check them, and change ``config.toml``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import as_json, print_json
from edgeagent.errors import UsageError

if TYPE_CHECKING:
    from edgeagent.node.options.declare import Option
    from edgeagent.node.options.resolve import Setting


@click.group(cls=Group)
def config() -> None:
    """The node's options: what they are, and where they are set.

    A flag of `edgeagent run` wins over a variable, that over config.toml, and that over the default.
    """


@config.command()
@click.argument("key", required=False)
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@as_json
def show(key: str | None, origin: bool, as_json: bool) -> None:
    """Show every option's value, or that of KEY alone; the token is never shown."""
    from edgeagent.node import config
    from edgeagent.node.options.resolve import resolve_home

    home = config.default_home(os.environ)
    found = [config.resolved(home, os.environ), resolve_home(home, os.environ, {})]
    settings = [setting for one in found for setting in one.settings.values()]
    if key is not None:
        settings = [setting for setting in settings if setting.option.key == key]
        if not settings:
            raise UsageError(_no_option(key))
    if as_json:
        print_json("config/1", {"home": str(home), "options": [_document(setting) for setting in settings]})
    elif key is not None and not origin:
        click.echo(settings[0].text)
    else:
        width = max(len(setting.option.key) for setting in settings)
        for setting in settings:
            place = f"  ({setting.place or setting.source.value})" if origin else ""
            click.echo(f"{setting.option.key:{width}}  {setting.text}{place}")
    for one in found:
        one.check()


@config.command()
def validate() -> None:
    """Check config.toml, config.json and the environment; exit code 2 where something is wrong."""
    from edgeagent.node import config, machine
    from edgeagent.node.fetch import s3
    from edgeagent.node.options.resolve import resolve_home

    home = config.default_home(os.environ)
    found = resolve_home(home, os.environ, {})
    faults = [*found.faults, *config.resolved(home, os.environ).faults]
    for check, key in ((machine.cores, "share.cores"), (s3.read_keys, "fetch.s3_keys")):
        try:
            check(found.settings[key].value)
        except UsageError as error:
            faults.append(str(error))
    for fault in faults[:-1]:
        click.echo(f"Error: {fault}", err=True)
    if faults:
        raise UsageError(faults[-1])
    click.echo(f"The options of the node in {home} are valid.")


@config.command("set")
@click.argument("key")
@click.argument("value")
def set_option(key: str, value: str) -> None:
    """Set an option in config.toml; comments and order stay.

    VALUE is written as in a variable: 8G, 5m, render,inference, or as in TOML: { render = 1 }.  A node reads it when it
    starts.
    """
    from edgeagent.node import config
    from edgeagent.node.options import document

    option = _known(key)
    home = config.default_home(os.environ)
    document.change(home, option, value)
    if os.environ.get(option.env):
        click.echo(f"{option.env} is set in this environment, and wins over the file.", err=True)


@config.command()
@click.argument("key")
def unset(key: str) -> None:
    """Take an option out of config.toml, so that its default holds."""
    from edgeagent.node import config
    from edgeagent.node.options import document

    document.remove(config.default_home(os.environ), _known(key))


@config.command()
def path() -> None:
    """Say where config.toml is, whether or not there is one."""
    from edgeagent.node import config, files

    click.echo(config.default_home(os.environ) / files.SETTINGS)


@config.command("payout-address")
@click.argument("address", required=False)
@click.option("--clear", is_flag=True, help="Be paid nowhere; what is earned stays in the node's account.")
@as_json
def payout_address(address: str | None, clear: bool, as_json: bool) -> None:
    """Show where the gateway's owner pays this node's earnings, or set it to ADDRESS.

    What an address looks like is for the owner to say: an account number, an e-mail address, a wallet.  It is kept by
    the gateway, set with the node's key, and shown by its ends only.
    """
    from edgeagent.node import config, payout

    if clear and address is not None:
        raise UsageError("give an address, or --clear, but not both")
    if address is not None and not address.strip():
        raise UsageError("an address has at least one character; --clear takes it away")
    home = config.default_home(os.environ)
    if address is None and not clear:
        answer = payout.shown(home, os.environ)
    else:
        answer = payout.change(home, os.environ, address or "")
    paid_to = answer.get("address")
    if as_json:
        print_json("payout-address/1", {"node_id": answer.get("node_id"), "address": paid_to})
    else:
        click.echo(f"Paid to: {paid_to or 'nowhere; edgeagent config payout-address ADDRESS sets it'}")


def _known(key: str) -> Option:
    from edgeagent.node.options import identity
    from edgeagent.node.options.settings import OPTIONS

    for option in OPTIONS:
        if option.key == key:
            return option
    for option in identity.OPTIONS:
        if option.key == key:
            raise UsageError(
                f"{key} belongs to the node's identity: set {option.env}, or edgeagent register --force ..."
            )
    raise UsageError(_no_option(key))


def _no_option(key: str) -> str:
    from edgeagent.node.options.resolve import nearest
    from edgeagent.node.options.settings import OPTIONS

    close = nearest(key, [option.key for option in OPTIONS])
    return f"{key} is no option; " + (f"did you mean {close}?" if close else "edgeagent config show lists all")


def _document(setting: Setting) -> dict[str, object]:
    option = setting.option
    return {
        "key": option.key,
        "value": setting.plain,
        "source": setting.source.value,
        "place": setting.place,
        "env": option.env,
        "flag": option.flag,
        "default": option.default_text,
        "help": option.help,
    }

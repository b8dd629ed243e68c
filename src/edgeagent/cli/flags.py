"""The flags of ``edgeagent run``: one for each option of the node that may stand on a command line.

They are handed on as texts, for ``node.options`` to read as it reads variables.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from edgeagent.node.options import identity, settings


def of_node(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``flags``: the texts of those that were given, by the option's ``param``."""
    table = [*identity.OPTIONS, *settings.OPTIONS]

    @functools.wraps(command)
    def flagged(**given: Any) -> None:
        flags = {one.param: given.pop(one.param) for one in table if one.flag}
        command(flags={param: text for param, text in flags.items() if text is not None}, **given)

    for option in reversed(table):
        if option.flag:
            text = f"{option.help}  [env: {option.env}; default: {option.default_text}]"
            flagged = click.option(option.flag, option.param, metavar="VALUE", help=text)(flagged)
    return flagged

"""Where a gateway keeps its things: the options that all of its owner's commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from edgeagent.cli.options import DIRECTORY
from edgeagent.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import URL

F = TypeVar("F", bound=Callable[..., Any])


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> URL | None:
    if value is None:
        return None
    from edgeagent.gateway.store import address

    if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
        return address.parse_open(value, "--database")
    return address.parse(value, "EDGEAGENT_DATABASE")


def _address_in_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> URL | None:
    if value is None:
        return None
    from edgeagent.gateway.store import address

    return address.read(value)


_data = click.option(
    "--data",
    "data_dir",
    type=DIRECTORY,
    envvar="EDGEAGENT_DATA",
    required=True,
    help="Directory of the gateway's database, key and files; made when missing.  [env: EDGEAGENT_DATA]",
)
_database = click.option(
    "--database",
    metavar="URL",
    envvar="EDGEAGENT_DATABASE",
    callback=_address,
    help="PostgreSQL instead of a file in the directory, like postgresql://gateway@db.example.org/edgeagent; "
    "with a password only in the environment.  [env: EDGEAGENT_DATABASE]",
)
_database_file = click.option(
    "--database-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="EDGEAGENT_DATABASE_FILE",
    callback=_address_in_file,
    help="A file that holds that address.  [env: EDGEAGENT_DATABASE_FILE]",
)


def of_gateway(command: F) -> F:
    """Give a command ``data_dir`` and, for ``database_of``, ``database`` and ``database_file``."""
    return _data(_database(_database_file(command)))


def database_of(database: URL | None, database_file: URL | None) -> URL | None:
    """Return which PostgreSQL database was asked for; None for the file in the directory.

    Raises:
        UsageError: two were.
    """
    if database is not None and database_file is not None:
        raise UsageError("say where the database is either by --database or by --database-file, not by both")
    return database or database_file


def at_gateway(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``place``: the settings that say where the gateway keeps its things."""

    @functools.wraps(command)
    def placed(data_dir: Path, database: URL | None, database_file: URL | None, **options: Any) -> None:
        from edgeagent.gateway.config import GatewaySettings

        command(GatewaySettings(data_dir=data_dir, postgres=database_of(database, database_file)), **options)

    return of_gateway(placed)

"""Options and outputs that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgeagent.wire.urls import GatewayUrl


class GatewayParam(click.ParamType["GatewayUrl"]):
    """A gateway's address."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> GatewayUrl:
        """Return the address, or fail with a line that shows how to write one."""
        from edgeagent.wire.urls import GatewayUrl

        if isinstance(value, GatewayUrl):
            return value
        try:
            return GatewayUrl.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class SizeParam(click.ParamType[int]):
    """A size in bytes, as people write it."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes, or fail with a line that shows how to write a size."""
        from edgeagent.wire.units import parse_size

        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationParam(click.ParamType[float]):
    """A duration in seconds, as people write it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds, or fail with a line that shows how to write a duration."""
        from edgeagent.wire.units import parse_duration

        if isinstance(value, float):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class OperatorLabel(click.ParamType[str]):
    """Who answers for nodes, as the owner calls them; empty: each node stands for itself."""

    name = "label"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the label, or fail with a line that says how to write one."""
        if not value:
            return ""
        from edgeagent.gateway.trust import check_label

        try:
            return check_label(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DIRECTORY = click.Path(file_okay=False, path_type=Path)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


def print_json(schema: str, document: dict[str, Any]) -> None:
    """Print a document for scripts: its schema's name and version first."""
    click.echo(json.dumps({"schema": f"edgeagent.{schema}", **document}, indent=2))

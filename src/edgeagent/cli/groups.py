"""A group of commands whose list says what each does, to the end of the first sentence; click cuts it at the line."""

from __future__ import annotations

import click


class Group(click.Group):
    """A group; the groups within it are of the same kind."""

    group_class = type

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list, a long sentence on several lines."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(limit=1000)) for name, one in commands if one is not None]
            )

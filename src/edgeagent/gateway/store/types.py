"""Text columns that both databases take alike.

PostgreSQL has no NUL in a text, SQLite has; whoever sends one must neither break a request nor get two answers.  It is
stored, and looked for, as the replacement character.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def without_nul(value: str | None) -> str | None:
    """Return ``value`` as both databases can store it."""
    return value.replace("\0", "\ufffd") if value is not None and "\0" in value else value


class String(sa.TypeDecorator[str]):
    """A text of at most so many characters."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """Prepare a value that goes to the database."""
        return without_nul(value)


class Text(sa.TypeDecorator[str]):
    """A text of any length."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """Prepare a value that goes to the database."""
        return without_nul(value)

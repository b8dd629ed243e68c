"""Reading a job's payload strictly: a wrong one is refused with a line that says what would be right.

The built-in plugins use it, and any plugin may.  Nothing is coerced (``true`` is not 1, ``"5"`` is not 5), and a field
that nobody asked for is an error, because it is a misspelling of one that somebody meant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from edgeagent.plugins.base import RejectJob
from edgeagent.plugins.channel import one_line


def only(payload: Mapping[str, Any], names: Collection[str]) -> None:
    """Refuse a payload with fields other than ``names``.

    Raises:
        RejectJob: it has others.
    """
    unknown = [name for name in payload if name not in names]
    if unknown:
        raise RejectJob(f"unknown field {shown(unknown[0])}; this job takes: {', '.join(names) or 'no fields'}")


def whole_number(payload: Mapping[str, Any], name: str, *, default: int, lowest: int, highest: int) -> int:
    """Return a whole number from the payload, ``default`` where it is missing.

    Raises:
        RejectJob: it is not a whole number, or outside ``lowest`` to ``highest``, both included.
    """
    value = payload.get(name, default)
    if type(value) is not int or not lowest <= value <= highest:
        raise RejectJob(f"{name} is a whole number from {lowest:,} to {highest:,}, not {shown(value)}")
    return value


def shown(value: Any) -> str:
    """Return a stranger's value for a message: one line of at most 40 characters."""
    return one_line(f"{value:,}" if type(value) is int and abs(value) < 10**18 else repr(value), 40)

"""What the owner has installed beside the gateway: objects that packages name in a group of entry points.

No other code of other people's ever runs in the gateway; whatever it does when it is imported ends here, in one line.
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points
from typing import Any

from edgeagent.gateway.texts import one_line


class NotInstalledError(Exception):
    """No package names such an object; ``there`` are the names that there are."""

    def __init__(self, there: list[str]) -> None:
        super().__init__(f"installed are: {', '.join(there) or 'none'}")
        self.there = there


class UnusableError(Exception):
    """It cannot be imported; the text says why, in one line."""


@functools.cache  # to look means to read what every installed package says of itself
def load(group: str, name: str) -> Any:
    """Return an object by the group and name of its entry point.

    Raises:
        NotInstalledError: see there.
        UnusableError: see there.
    """
    found = {one.name: one for one in entry_points(group=group)}
    if name not in found:
        raise NotInstalledError(sorted(found))
    try:
        return found[name].load()
    except (Exception, SystemExit) as error:  # a package's module may do anything while it is imported
        raise UnusableError(told(error)) from error


def told(error: BaseException) -> str:
    """Return in one line what was raised by somebody else's code."""
    return one_line(f"{type(error).__name__}: {error}", 300)

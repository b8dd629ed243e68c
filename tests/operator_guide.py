"""The commands of docs/operator-guide.md, by their names there, so that tests run what operators read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs/operator-guide.md"
#: What stands on the page for a gateway's address, and for a token.
GATEWAY, LINK, TOKEN, HEALTH = (
    "https://gateway.example.com",
    "wss://gateway.example.com/api/v1",
    "eyJhbGci...",
    "localhost:8081",
)


def commands() -> dict[str, str]:
    """Return each block of commands by its name."""
    named = re.findall(r"<!-- guide: ([a-z-]+) -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return dict(named)


def command(name: str, instead: Mapping[str, str]) -> str:
    """Return a block, with what a test has in the place of what stands there.

    Raises:
        AssertionError: there is nothing to replace.
    """
    text = commands()[name]
    for written, ours in instead.items():
        assert written in text, f"{written} does not stand in the commands of {name}"
        text = text.replace(written, ours)
    return text

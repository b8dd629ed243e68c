"""docs/configuration.md lists every option as the program has it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgeagent.node.options import identity
from edgeagent.node.options.declare import Option
from edgeagent.node.options.settings import OPTIONS

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def table(options: Sequence[Option]) -> str:
    """Return the table that belongs between the marks."""
    head = "| option | default | variable | what it is |\n|---|---|---|---|\n"
    return head + "".join(
        f"| `{one.key}` | {_default(one)} | `{one.env}` | {one.help} Must be {one.kind.said}. |\n" for one in options
    )


def _default(option: Option) -> str:
    return option.default_said or f"`{option.default_text}`"


@pytest.mark.parametrize(("mark", "options"), [("options", OPTIONS), ("identity", identity.OPTIONS)])
def test_the_page_lists_every_option(mark: str, options: Sequence[Option]) -> None:
    """Change the declaration, then put this table between the marks."""
    found = re.search(rf"<!-- {mark}: begin -->\n(.*?)<!-- {mark}: end -->", PAGE.read_text(), re.DOTALL)

    assert found is not None
    assert table(options) == found[1]

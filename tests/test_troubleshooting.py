"""docs/troubleshooting.md has every message that an operator can meet, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from operator_messages import messages

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
_ROW = re.compile(r"\| `(?P<message>[^`]+)` \| (?P<cause>[^|]*)\| (?P<remedy>[^|]*)\|")


def _rows() -> list[re.Match[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    found = [_ROW.fullmatch(line) for line in lines]
    assert all(found), [line for line, row in zip(lines, found, strict=True) if row is None]
    return [row for row in found if row is not None]


def test_each_message_is_explained() -> None:
    """Write a row for it, with … for what varies."""
    written = {row["message"] for row in _rows()}

    assert not {text: place for text, place in messages().items() if text not in written}


def test_nothing_is_explained_that_cannot_be_met() -> None:
    """A message that was changed or removed takes its row along."""
    assert not {row["message"] for row in _rows()} - messages().keys()


def test_each_row_says_something() -> None:
    """A cause, a remedy, or both; and no message twice."""
    rows = _rows()

    assert not [row["message"] for row in rows if not row["cause"].strip() and not row["remedy"].strip()]
    assert len({row["message"] for row in rows}) == len(rows)


def test_messages_of_every_kind_are_found() -> None:
    """What the other tests rest on: a raised fault, one that is returned, a log line, a reason, a warning."""
    found = messages()

    for text in (
        "no node runs from …; start one with: edgeagent run",
        "the gateway says no: …",
        "Spool not written",
        "the machine runs on battery",
        "no new jobs are taken: …",
    ):
        assert text in found

"""Where an operator is paid: what may stand there, what others see of it, and what is signed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.wire import payout_address

TEXTS = st.text(min_size=1, max_size=40)


@pytest.mark.parametrize("text", ["AT61 1904 3002 3457 3201", "  me@example.org ", "x" * 200, "Žofia, účet 7"])
def test_one_printable_line_is_an_address(text: str) -> None:
    """Without the space around it."""
    assert payout_address.check(text) == text.strip()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least one"),
        ("  ", "at least one"),
        ("x" * 201, "at most 200"),
        ("a\nb", "one line"),
        ("\x1b[2J", "one"),
    ],
)
def test_anything_else_is_none(text: str, said: str) -> None:
    """And it is said why."""
    with pytest.raises(ValueError, match=said):
        payout_address.check(text)


@pytest.mark.parametrize(("address", "masked"), [("AT611904300234573201", "AT61…3201"), ("short", "*****")])
def test_only_its_ends_are_shown(address: str, masked: str) -> None:
    """Of one too short for that, nothing."""
    assert masked == payout_address.masked(address)


@given(st.lists(TEXTS, min_size=3, max_size=3), st.lists(TEXTS, min_size=3, max_size=3))
def test_what_is_signed_tells_every_difference(one: list[str], other: list[str]) -> None:
    """Of node, challenge or address; ids and challenges have no line breaks."""
    one, other = ([text.replace("\n", "") for text in texts] for texts in (one, other))

    assert (one == other) == (payout_address.proof(*one) == payout_address.proof(*other))

"""What a stranger may call a node, and what becomes of it on a page."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway import names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("studio-gpu", "studio-gpu"),
        ("  two \n words ", "two words"),
        ("user\u202egnp.exe", "usergnp.exe"),  # right-to-left override
        ("\u2066isolated\u2069", "isolated"),
        ("al\u200bi\u200dce\ufeff", "alice"),  # zero width
        ("\u3164\u115f\u2800\ufe0f", names.NAMELESS),  # nothing to see
        ("", names.NAMELESS),
        ("z\u0335\u0321\u0353\u0312\u0359a", "z\u0335\u0321a"),  # marks piled up
        ("e\u0301", "\u00e9"),
        ("n" * 100, "n" * 39 + "…"),
        ("<b>&amp;", "<b>&amp;"),  # escaping is the page's affair
        ("שלום", "שלום"),
        ("名前", "名前"),
    ],
)
def test_a_name_is_shown_as_one_line_that_keeps_its_place(name: str, shown: str) -> None:
    """What cannot be seen or steers the text is left out; scripts of the world stay."""
    assert names.shown(name) == shown


@given(st.text(max_size=300), st.integers(1, 100))
def test_whatever_is_shown_can_be_seen_and_is_no_longer_than_asked(name: str, most: int) -> None:
    """Whatever a name holds."""
    shown = names.shown(name, most)

    assert shown.strip()
    assert shown.isprintable()
    assert shown == names.NAMELESS or len(shown) <= most
    assert not any(unicodedata.category(one) in {"Cf", "Cc", "Zl", "Zp"} for one in shown)


@pytest.mark.parametrize(
    ("name", "mixes"),
    [
        ("paypal", False),
        ("p\u0430ypal", True),  # a Cyrillic a
        ("\u03bfmega", True),  # a Greek o
        ("сервер", False),
        ("сервер 7", False),
        ("Ünïcödé", False),
        ("東京 node", False),  # nobody takes these for each other
    ],
)
def test_a_name_of_several_alphabets_is_told(name: str, mixes: bool) -> None:
    """Letters that look alike come from another alphabet."""
    assert names.mixes_alphabets(name) is mixes


def test_names_that_read_the_same_have_one_key() -> None:
    """By case, width, space, and what cannot be seen."""
    keys = {names.key(one) for one in ("Alice PC", "alice  pc", "ＡＬＩＣＥ PC", "alice\u3164 pc", "ali\ufe0fce pc")}

    assert keys == {"alice pc"}

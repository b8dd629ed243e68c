"""The owner's cookie: made by this gateway, for one token, for a day's work."""

from __future__ import annotations

import pytest

from edgeagent.gateway import sessions

SECRET, TOKEN = b"secret of the gateway", "ab" * 32
NOW = 1_800_000_000.0
COOKIE = sessions.begin(SECRET, TOKEN, NOW, b"0123456789abcdef")


def test_a_cookie_stands_for_its_token_until_it_ends() -> None:
    """And each has a form word of its own."""
    session = sessions.resume(SECRET, COOKIE, NOW + sessions.LIFE_S - 1)
    other = sessions.resume(SECRET, sessions.begin(SECRET, TOKEN, NOW, b"fedcba9876543210"), NOW)

    assert session is not None
    assert other is not None
    assert session.token_sha256 == TOKEN
    assert sessions.is_own_form(session, session.form_word)
    assert not sessions.is_own_form(session, other.form_word)
    assert not sessions.is_own_form(session, "")
    assert not sessions.is_own_form(session, "\ud800ü")
    assert session.form_word not in COOKIE
    assert sessions.resume(SECRET, COOKIE, NOW + sessions.LIFE_S) is None
    assert sessions.resume(SECRET, COOKIE, NOW - 10) is None


@pytest.mark.parametrize("index", range(0, len(COOKIE), 7))
def test_no_part_of_a_cookie_can_be_changed(index: int) -> None:
    """Not the token, not the time, not the signature."""
    changed = COOKIE[:index] + ("1" if COOKIE[index] != "1" else "2") + COOKIE[index + 1 :]

    assert sessions.resume(SECRET, changed, NOW) is None


@pytest.mark.parametrize("cookie", ["", "x", COOKIE + "0", COOKIE + "\n", f"{TOKEN}.1.00.00", "\x00" * 200])
def test_what_is_no_cookie_of_ours_is_none(cookie: str) -> None:
    """Nor one that another key signed."""
    assert sessions.resume(SECRET, cookie, NOW) is None
    assert sessions.resume(b"another gateway", COOKIE, NOW) is None

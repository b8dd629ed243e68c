"""What a page's address says of the leaderboard, both ways."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway.api.choices import Choice
from edgeagent.gateway.leaderboard import Column, Query


def read(address: str) -> Choice:
    return Choice.parse(dict(parse_qsl(urlsplit(address).query)))


@given(
    st.sampled_from(Column), st.booleans(), st.text(max_size=100).map(str.strip), st.integers(1, 9999), st.booleans()
)
def test_an_address_says_what_was_chosen(
    column: Column, ascending: bool, search: str, page: int, refresh: bool
) -> None:
    """Whoever opens it sees the same."""
    query = Query(column=column, ascending=ascending, search=search)
    choice = Choice(query=query, page=page, refresh=refresh)

    assert read(choice.address) == choice


@pytest.mark.parametrize("address", ["/", "/?sort=luck&dir=up&page=-1&refresh=maybe", "/?page=²", "/?page=9999999999"])
def test_what_makes_no_sense_is_passed_over(address: str) -> None:
    """A page is shown all the same."""
    assert read(address) == Choice()


def test_a_head_sorts_best_first_and_then_the_other_way_round() -> None:
    """And goes to the first page."""
    choice = read("/?page=3&q=x").sorted_by(Column.UPTIME)

    assert choice.address == "/?sort=uptime&q=x"
    assert choice.sorted_by(Column.UPTIME).address == "/?sort=uptime&dir=asc&q=x"
    assert choice.sorted_by(Column.NAME).address == "/?sort=name&q=x"
    assert choice.sorted_by(Column.JOBS).address == "/?q=x"


@pytest.mark.parametrize(("found", "page", "pages"), [(0, 1, 1), (100, 1, 1), (101, 2, 2), (250, 3, 3)])
def test_a_page_beyond_the_last_is_the_last(found: int, page: int, pages: int) -> None:
    """Nodes may have gone since the address was written."""
    choice, number = read("/?page=77").cut(found)

    assert (choice.page, number) == (page, pages)

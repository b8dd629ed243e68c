"""Credits and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.wire import units


@given(st.integers(-(10**15), 10**15))
def test_credits_are_written_and_read_back_exactly(ucr: int) -> None:
    """No micro-credit is lost between the ledger and a person."""
    assert units.credits_to_ucr(units.format_credits(ucr)) == ucr


@pytest.mark.parametrize(
    ("ucr", "text"), [(10_000_000, "10"), (500_000, "0.5"), (-1_250_000, "-1.25"), (1, "0.000001")]
)
def test_credits_are_shown_without_needless_zeros(ucr: int, text: str) -> None:
    """Ten credits are "10"."""
    assert units.format_credits(ucr) == text


@pytest.mark.parametrize("text", ["", "ten", "0.0000001", "nan", "inf", "1e999999999"])
def test_what_is_no_number_of_credits_is_refused(text: str) -> None:
    """Only finite numbers down to a micro-credit are credits."""
    with pytest.raises(ValueError, match="credit"):
        units.credits_to_ucr(text)


@pytest.mark.parametrize(("text", "size"), [("512", 512), ("64M", 64 << 20), ("2 GiB", 2 << 30), ("1kb", 1024)])
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    """64M is 64 MiB."""
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5G", "2 parsecs", "M"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """The error shows how to write one."""
    with pytest.raises(ValueError, match="512M or 2G"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (12 << 20, "12 MiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_are_shown_in_the_unit_that_fits(size: int, text: str) -> None:
    """Two digits that matter are enough for a person."""
    assert units.format_size(size) == text

"""What a row says of its samples, and how it is held against a target."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rows import Target, conclusion, judge, merged, percentile, row_id, summarise, with_ratios

SAMPLES = st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("samples", "percent", "expected"),
    [
        ([7.0], 0, 7.0),
        ([7.0], 90, 7.0),
        ([3.0, 1.0, 2.0], 0, 1.0),
        ([3.0, 1.0, 2.0], 100, 3.0),
        ([1.0, 2.0], 50, 1.5),
        ([10.0, 20.0, 30.0, 40.0, 50.0, 60.0], 10, 15.0),
        ([10.0, 20.0, 30.0, 40.0, 50.0, 60.0], 90, 55.0),
    ],
)
def test_a_percentile_lies_between_its_neighbours(samples, percent, expected):
    """Sample order does not matter, and what falls between two samples is interpolated."""
    assert expected == percentile(samples, percent)


@given(SAMPLES)
def test_the_middle_percentile_is_the_median(samples):
    """The standard library agrees."""
    assert statistics.median(samples) == pytest.approx(percentile(samples, 50))


@given(SAMPLES)
def test_percentiles_rise_and_stay_among_the_samples(samples):
    """p10 is at most the median, the median at most p90, and none is past the outermost sample."""
    row = summarise("g", "n", "ms", samples)

    tolerance = 1e-9 * max(samples)
    assert min(samples) - tolerance <= row.p10 <= row.median + tolerance
    assert row.median - tolerance <= row.p90 <= max(samples) + tolerance


@pytest.mark.parametrize(("samples", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_no_percentile_of_nothing(samples, percent):
    """No samples, or a percentile outside 0 to 100, is refused."""
    with pytest.raises(ValueError, match="no percentile"):
        percentile(samples, percent)


def _rows():
    return (
        summarise("exit", "bare", "ms", [1.0, 2.0, 3.0]),
        summarise("exit", "ours", "ms", [4.0, 5.0, 9.0]),
        summarise("rate", "ours", "jobs/s", [700.0]),
    )


def test_a_ratio_is_between_medians_of_one_run():
    """Each row of a group is divided by the median of the group's baseline, the baseline itself by itself."""
    bare, ours, rate = with_ratios(_rows(), {"exit": row_id("exit", "bare")})

    assert (1.0, 2.5) == (bare.ratio, ours.ratio)
    assert row_id("exit", "bare") == ours.baseline
    assert (None, None) == (rate.ratio, rate.baseline)


def test_a_missing_baseline_leaves_plain_figures():
    """Nothing is divided by what was not measured."""
    rows = with_ratios(_rows(), {"exit": row_id("exit", "nobody")})

    assert {None} == {row.ratio for row in rows} | {row.baseline for row in rows}


def test_a_baseline_of_nothing_leaves_plain_figures():
    """Nothing is divided by zero."""
    zero = summarise("exit", "zero", "ms", [0.0])

    assert {None} == {row.ratio for row in with_ratios([zero], {"exit": zero.id})}


@pytest.mark.parametrize(
    ("bound", "value", "met"),
    [
        ({"at_most": 2.5}, 2.5, True),
        ({"at_most": 2.4}, 2.5, False),
        ({"at_least": 2.5}, 2.5, True),
        ({"at_least": 2.6}, 2.5, False),
    ],
)
def test_a_ratio_is_held_against_its_bound(bound, value, met):
    """The bound itself is good enough, on either side."""
    (verdict,) = judge([Target(row=row_id("exit", "ours"), per=row_id("exit", "bare"), **bound)], _rows())

    assert (value, met) == (verdict.value, verdict.met)


@pytest.mark.parametrize(("at_least", "met"), [(700, True), (701, False)])
def test_an_absolute_target_needs_no_other_row(at_least, met):
    """Without ``per`` the median itself is compared."""
    (verdict,) = judge([Target(row=row_id("rate", "ours"), at_least=at_least)], _rows())

    assert (700.0, met) == (verdict.value, verdict.met)


@pytest.mark.parametrize(
    "rows_of_target",
    [
        {"row": row_id("exit", "nobody")},
        {"row": row_id("exit", "nobody"), "per": row_id("exit", "bare")},
        {"row": row_id("exit", "ours"), "per": row_id("exit", "nobody")},
    ],
)
def test_a_target_that_was_not_measured_is_missed(rows_of_target):
    """A peer or a feature that is not there cannot make a run pass."""
    (verdict,) = judge([Target(at_most=1000, **rows_of_target)], _rows())

    assert (None, False) == (verdict.value, verdict.met)
    assert "not measured" in str(verdict)


@pytest.mark.parametrize("bounds", [{}, {"at_most": 1, "at_least": 1}])
def test_a_target_has_exactly_one_bound(bounds):
    """A target that says nothing, or two things, is refused by name."""
    with pytest.raises(ValueError, match="ours: exit needs either"):
        Target(row=row_id("exit", "ours"), **bounds)


def test_the_last_line_names_each_missed_row_and_no_other():
    """With its value and its bound."""
    targets = [
        Target(row=row_id("exit", "ours"), per=row_id("exit", "bare"), at_most=2),
        Target(row=row_id("exit", "bare"), at_most=2),
        Target(row=row_id("rate", "ours"), at_least=1000),
    ]

    line = conclusion(judge(targets, _rows()))

    assert "missed 2 of 3 targets: ours: exit / bare: exit (2.5, at most 2); ours: rate (700, at least 1000)" == line


def test_the_last_line_says_when_all_is_well():
    """And when there was nothing to miss."""
    met = judge([Target(row=row_id("rate", "ours"), at_least=600)], _rows())

    assert "met all 1 targets" == conclusion(met)
    assert "no targets" in conclusion([])


def test_one_benchmarks_results_replace_only_its_own():
    """The others' entries stay, whatever is in them."""
    earlier = {"sandbox": {"rows": [1]}, "link": {"rows": [2]}}

    results = merged(earlier, "sandbox", {"rows": [3]})

    assert {"sandbox": {"rows": [3]}, "link": {"rows": [2]}} == results
    assert {"rows": [1]} == earlier["sandbox"]
